#include "client/peer_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

#include "base/atomics.h"
#include "client/channel.h"
#include "client/regions.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using ipc::arg;
using ipc::raw_syscall;

namespace {

// Address space without access for `size` bytes, at a multiple of the huge page size, so that pages are huge ones here, too. nullptr: none.
std::byte* reserve(uint64_t size) {
  const long r = raw_syscall(SYS_mmap, 0, static_cast<long>(size + abi::kHugePageSize), PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (r < 0 && r > -4096) return nullptr;
  return reinterpret_cast<std::byte*>((static_cast<uint64_t>(r) + abi::kHugePageSize - 1) / abi::kHugePageSize * abi::kHugePageSize);
}

}  // namespace

void PeerPages::renew(ipc::PeerRegionView view, uint32_t serial) {
  Guard guard(mutex_);
  for (auto& side : sent_) {
    for (Sent& s : side) {
      if (s.used && s.token != 0) regions::unrefer(s.token);
      s = {};
    }
  }
  for (Mapped& m : mapped_) m.serial = 0;
  store_relaxed(refused_, 0u);
  Guard words(words_mutex_);
  view_ = view;
  serial_ = serial;
}

uint32_t PeerPages::take(uint32_t side) {
  Guard guard(mutex_);
  for (uint32_t i = 0; view_.mapped() && i < abi::kPeerHolds; ++i) {
    reap(side, i);
    if (sent_[side][i].used) continue;
    sent_[side][i] = {true, 0};
    store_relaxed(view_.held(side, i), 1u);
    return i;
  }
  return kNone;
}

void PeerPages::hold(uint32_t side, uint32_t hold, uint64_t token) {
  Guard guard(mutex_);
  sent_[side][hold].token = token;
}

void PeerPages::give_back(uint32_t side, uint32_t hold) {
  Guard guard(mutex_);
  sent_[side][hold] = {};
}

void PeerPages::reap(uint32_t side, uint32_t hold) {
  Sent& s = sent_[side][hold];
  if (!s.used || s.token == 0 || load_acquire(view_.held(side, hold)) != 0) return;
  regions::unrefer(s.token);
  s = {};
}

void PeerPages::reap() {
  Guard guard(mutex_);
  if (!view_.mapped()) return;
  for (uint32_t side : {0u, 1u})
    for (uint32_t i = 0; i < abi::kPeerHolds; ++i) reap(side, i);
}

PeerPages::Memory PeerPages::memory(uint16_t region, uint32_t serial) {
  Guard guard(mutex_);
  const Mapped& m = mapped_[region - 1];
  return m.serial == serial && serial != 0 ? Memory{m.memfd.get(), m.base, m.size} : Memory{};
}

bool PeerPages::map(Channel& channel, uint32_t engine, uint32_t number, uint16_t region, uint32_t serial) {
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::peer_memory);
  request.value = number;
  request.flags = region;
  const bool good = serial != 0 && channel.call(engine, request, reply, nullptr, 0, &fds) == 0 && fds.count == 1 &&
                    place(channel, region, serial, fds.take(0));
  if (!good) store_relaxed(refused_, 1u);
  return good;
}

bool PeerPages::place(Channel& channel, uint16_t region, uint32_t serial, ipc::OwnedFd memfd) {
  struct stat status;
  const uint64_t most = channel.server().region_bytes;
  if (raw_syscall(SYS_fstat, memfd.get(), arg(&status)) != 0) return false;
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size == 0 || size > most) return false;
  Guard guard(mutex_);
  Mapped& m = mapped_[region - 1];
  m.serial = 0;
  if (m.base == nullptr) m.base = reserve(most);
  if (m.base == nullptr) return false;
  // At the same address and with the same number as before: whoever still uses these finds memory of that client, and no other file.
  const long r = raw_syscall(SYS_mmap, arg(m.base), static_cast<long>(size), PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memfd.get(), 0);
  if (r < 0 && r > -4096) return false;
  raw_syscall(SYS_madvise, arg(m.base), static_cast<long>(size), MADV_DONTFORK);
  if (!m.memfd.valid()) m.memfd = Channel::keep_private(std::move(memfd));
  else if (raw_syscall(SYS_dup3, memfd.get(), m.memfd.get(), O_CLOEXEC) < 0) return false;
  m.size = size;
  m.serial = serial;
  return m.memfd.valid();
}

void PeerPages::close_descriptors() {
  for (Mapped& m : mapped_) Channel::drop_private(m.memfd);
}

ForeignPage PeerPages::page(const Memory& memory, uint64_t offset, uint32_t side, uint32_t hold) {
  Guard words(words_mutex_);
  return {memory.memfd, offset, this, name(side, hold)};
}

void PeerPages::done(uint32_t side, uint32_t hold) {
  Guard words(words_mutex_);
  if (view_.mapped()) store_release(view_.held(side, hold), 0u);
}

void PeerPages::end_hold(uint64_t hold) {
  Guard words(words_mutex_);
  if (view_.mapped() && hold >> 32 == serial_) store_release(view_.held(hold >> 16 & 1, hold & 0xffff), 0u);
}

}  // namespace ferry::client
