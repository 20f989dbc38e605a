// Whole pages through a passage: the writer refers to one where its program has it, the reader maps it in place of its own program's, or copies from
// it. Only between processes of one user, both with memory in regions (docs/architecture.md, "Same host").
#include <sys/socket.h>

#include <algorithm>

#include "client/passage.h"
#include "client/receiving.h"
#include "client/regions.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {
constexpr size_t kPage = abi::kHugePageSize;

bool is_page_start(const void* p) { return reinterpret_cast<uintptr_t>(p) % kPage == 0; }
}  // namespace

// Refers to the next page of the program's, if that is what comes next. Returns its bytes, or 0: `ahead` becomes how many bytes are to be
// copied before the next look, at most; 0 of them while there are too many references. Under tx_lock.
uint32_t Socket::put_page(Home& h, Passage& p, IovCursor& data, uint64_t& ahead) {
  const auto piece = data.piece();
  const uint64_t limit = load_relaxed(h.shared->passage_referring);
  if (limit == 0 || load_relaxed(p.theirs.accepts) != 1 || !regions::contains(piece.data())) return 0;
  if (!is_page_start(piece.data())) {
    const size_t to_page = kPage - reinterpret_cast<uintptr_t>(piece.data()) % kPage;
    ahead = std::min<uint64_t>(ahead, to_page);
    return 0;
  }
  if (piece.size() < kPage) return 0;
  if (!p.out.can_refer(limit)) return static_cast<uint32_t>(ahead = 0);
  const uint32_t hold = p.pages.take(p.side);
  if (hold == PeerPages::kNone) return 0;
  const regions::Reference r = regions::refer(*h.channel, h.engine, piece.data(), piece.size(), kPage);
  if (r.length == 0) return p.pages.give_back(p.side, hold), 0;
  p.pages.hold(p.side, hold, r.token);
  p.out.refer({0, r.offset, r.length, r.serial, r.region, static_cast<uint16_t>(hold), 0});
  data.skip(r.length);
  store_relaxed(h.referenced_out, h.referenced_out + r.length);
  return r.length;
}

// Tells the writer whether pages are of use to this receive.
void Socket::invite_pages(Home& h, Passage& p, const Receiving& r) {
  if (!r.in_region || r.to.left() < kPage || (r.flags & (MSG_PEEK | MSG_TRUNC)) != 0 || load_relaxed(h.shared->passage_referring) == 0) return;
  const uint32_t invites = p.invitation.consider() && !p.pages.is_refused() && h.channel->server().swap_bytes != 0 ? 1 : 0;
  if (load_relaxed(p.mine.accepts) != invites) store_relaxed(p.mine.accepts, invites);
}

// Takes what the reference names, from byte `used` on: exchanges the page for the program's (`mapped`), or copies some bytes. Returns how many;
// 0: `fault`, its memory has to be asked for first, or there is no such memory. Under rx_lock.
size_t Socket::take_page(Home& h, Passage& p, Receiving& r, const abi::PassageReference& reference, uint32_t used, bool& mapped, bool& fault) {
  const PeerPages::Memory memory = p.pages.memory(reference.region, reference.serial);
  if (memory.base == nullptr) {
    if (!r.refused) r.unmapped = reference;
    return 0;
  }
  if (memory.size < reference.length || reference.offset > memory.size - reference.length) return ask_to_leave(h), 0;
  const bool plain = (r.flags & (MSG_PEEK | MSG_TRUNC)) == 0;
  const auto to = r.to.piece();
  if (plain && reference.length == kPage && used == 0 && to.size() >= kPage && is_page_start(to.data()) && regions::contains(to.data())) {
    auto* program = const_cast<std::byte*>(to.data());
    const bool written = regions::is_written(program);
    if (regions::adopt(program, p.pages.page(memory, reference.offset, 1 - p.side, reference.hold))) {
      mapped = true;
      p.invitation.on_page(!written);
      r.to.skip(kPage);
      count_swapped(h, kPage, 1);
      return kPage;
    }
  }
  const size_t n = std::min({size_t{reference.length - used}, r.to.left(), size_t{Passage::kChunk}});
  if ((r.flags & MSG_TRUNC) != 0) {
    r.to.skip(n);
  } else if (r.to.copy_in(memory.base + reference.offset + used, n) < n) {
    fault = true;
    return 0;
  }
  if (plain && used + n == reference.length) p.invitation.on_page(false);
  return n;
}

// Asks for the memory that a receive has met and does not have. False: it cannot be had, and the server is to pass the bytes on. Without a lock.
bool Socket::map_pages(Home& h, Receiving& r) {
  const abi::PassageReference wanted = *r.unmapped;
  r.unmapped.reset();
  Passage* p = passage_of(h);
  if (p == nullptr) return true;
  // A writer that is right has no more of them.
  if (++r.mappings <= abi::kMaxRegions && p->pages.map(*h.channel, h.engine, p->number, wanted.region, wanted.serial)) return true;
  r.refused = true;
  ask_to_leave(h);
  return false;
}

}  // namespace ferry::client
