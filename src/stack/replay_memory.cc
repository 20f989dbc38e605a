// Pages by region and number; see replay_memory.h.
#include "stack/replay_memory.h"

#include "port/api/alloc.h"

namespace ferry::stack {

ReplayMemory::~ReplayMemory() {
  for (Page*& chain : chains_) {
    while (Page* page = chain) {
      chain = page->chain;
      port::release(page);
    }
  }
}

ReplayMemory::Page* ReplayMemory::find(buf::RegionId region, uint64_t number) const {
  Page* p = chains_[chain_of(region, number)];
  while (p != nullptr && (p->number != number || p->region != region)) p = p->chain;
  return p;
}

Status ReplayMemory::fill(const buf::IoDesc& d, ByteSpan bytes) {
  if (bytes.size() > d.length) bytes = bytes.first(d.length);
  uint64_t at = d.offset;
  while (!bytes.empty()) {
    const uint64_t number = at / kPageBytes;
    const size_t start = at % kPageBytes;
    const size_t n = bytes.size() < kPageBytes - start ? bytes.size() : kPageBytes - start;
    Page* page = find(d.region, number);
    if (page == nullptr) {
      if (count_ == kMaxPages) return Errc::no_memory;
      page = static_cast<Page*>(port::allocate(sizeof(Page)));
      if (page == nullptr) return Errc::no_memory;
      __builtin_memset(static_cast<void*>(page), 0, sizeof(Page));
      page->number = number;
      page->region = d.region;
      Page*& head = chains_[chain_of(d.region, number)];
      page->chain = head;
      head = page;
      ++count_;
    }
    copy_bytes(MutableByteSpan(page->bytes, kPageBytes).subspan(start), bytes.first(n));
    bytes = bytes.subspan(n);
    at += n;
  }
  return {};
}

ByteSpan ReplayMemory::read(const buf::IoDesc& d) {
  if (d.length > kMaxRead) return {};
  uint64_t at = d.offset;
  uint32_t done = 0;
  while (done < d.length) {
    const Page* page = find(d.region, at / kPageBytes);
    if (page == nullptr) return {};
    const uint32_t start = static_cast<uint32_t>(at % kPageBytes);
    const uint32_t n = d.length - done < kPageBytes - start ? d.length - done : kPageBytes - start;
    const ByteSpan piece = ByteSpan(page->bytes, kPageBytes).subspan(start, n);
    if (n == d.length) return piece;
    copy_bytes(MutableByteSpan(scratch_, kMaxRead).subspan(done), piece);
    done += n;
    at += n;
  }
  return ByteSpan(scratch_, done);
}

}  // namespace ferry::stack
