#include "client/regions.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/atomics.h"
#include "client/channel.h"
#include "client/process.h"
#include "client/region.h"
#include "port/api/log.h"

namespace ferry::client::regions {

std::byte* g_begin = nullptr;
size_t g_size = 0;

namespace {

namespace abi = ipc::abi;
namespace control = ipc::control;
using ipc::arg;
using ipc::raw_syscall;
using port::LogLevel;

struct Slot {
  Region region;
  uint32_t serial = 0;      // raised whenever another region is opened here
  uint32_t exposed_by = 0;  // the latest fork that gave a child its pages
};

// A fork whose children may still have our pages mapped: they hold the write end of a pipe, which exec and exit close.
struct Lease {
  uint32_t fork = 0;  // its number
  ipc::OwnedFd read_end;
};
constexpr size_t kMaxLeases = 16;

struct State {
  Mutex mutex;
  bool logged = false;
  size_t region_size = 0;
  Slot* slots = nullptr;  // kMaxRegions of them
  int pagemap = -1;       // of this process
  uint32_t pagemap_token = 0;
  uint32_t forks = 0;
  Lease leases[kMaxLeases];
  Lease fork_lease;             // of the fork under way
  ipc::OwnedFd fork_write_end;
};
// Nothing of it is destroyed: memory is freed until the very end.
union Storage {
  constexpr Storage() : state() {}
  ~Storage() {}
  State state;
};
constinit Storage g_storage;
State& g_state = g_storage.state;
bool g_enabled = false;  // atomic
bool g_returned = false; // some region may have pages to regain; atomic

void give_up(State& s, const char* why) {
  if (s.logged) return;
  s.logged = true;
  port::log(LogLevel::warning, "large buffers are not passed by reference: %s; they are copied, as with --scheme shared", why);
}

bool reserve_address_space(State& s, const Channel& channel) {
  const size_t size = channel.server().region_bytes / Region::kPage * Region::kPage;
  if (size == 0) return give_up(s, "ferryd takes no regions (quota-region-mib is 0)"), false;
  const size_t all = size * abi::kMaxRegions;
  const long r = raw_syscall(SYS_mmap, 0, static_cast<long>(all + Region::kPage), PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (r < 0 && r > -4096) return give_up(s, "no address space for regions"), false;
  // Not by malloc: an allocator may be asking us for memory.
  const long slots = raw_syscall(SYS_mmap, 0, sizeof(Slot) * abi::kMaxRegions, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (slots < 0 && slots > -4096) return give_up(s, "no memory"), false;
  s.slots = reinterpret_cast<Slot*>(slots);
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) new (s.slots + i) Slot;
  s.region_size = size;
  store_release(g_begin, reinterpret_cast<std::byte*>((static_cast<size_t>(r) + Region::kPage - 1) / Region::kPage * Region::kPage));
  store_release(g_size, all);
  return true;
}

Slot& slot_of(State& s, const void* p) {
  return s.slots[static_cast<size_t>(static_cast<const std::byte*>(p) - g_begin) / s.region_size];
}
uint32_t number_of(State& s, const Slot& slot) { return static_cast<uint32_t>(&slot - s.slots) + 1; }

// Opens a region in a free slot; nullptr: all are in use.
Region* open_region(State& s) {
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) {
    Slot& slot = s.slots[i];
    if (slot.region.is_open()) {
      if (slot.region.in_service() || !slot.region.is_idle()) continue;
      slot.region.close();
    }
    if (!slot.region.open(g_begin + i * s.region_size, s.region_size)) return give_up(s, "no memory file can be made"), nullptr;
    ++slot.serial;
    return &slot.region;
  }
  give_up(s, "all regions are in use, by memory that children of this process may have as well");
  return nullptr;
}

// Puts regions back into service whose pages no child can have mapped any more.
void end_leases(State& s) {
  uint32_t oldest = ~0u;  // fork that still has children
  for (Lease& lease : s.leases) {
    if (!lease.read_end.valid()) continue;
    pollfd p{lease.read_end.get(), 0, 0};
    const timespec now{};
    if (raw_syscall(SYS_ppoll, arg(&p), 1, arg(&now)) > 0) Channel::drop_private(lease.read_end);
    else oldest = std::min(oldest, lease.fork);
  }
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) {
    Slot& slot = s.slots[i];
    if (slot.region.is_open() && slot.region.is_exposed() && slot.region.memfd() >= 0 && slot.exposed_by < oldest) slot.region.resume();
  }
}

enum class Purpose { allocation, mapping };

std::byte* allocate_in(State& s, size_t count, bool zeroed, Purpose purpose, bool& busy) {
  end_leases(s);
  bool any = false;
  for (uint32_t i = 0; i <= abi::kMaxRegions; ++i) {
    Region* region = i < abi::kMaxRegions ? &s.slots[i].region : any ? nullptr : open_region(s);
    if (region == nullptr || !region->is_open() || !region->in_service()) continue;
    any = true;
    if (std::byte* p = region->allocate(count, zeroed, busy)) {
      if (purpose == Purpose::mapping) region->make_mapping(p);
      return p;
    }
    if (!region->out_of_huge_pages()) continue;
    store_release(g_enabled, false);
    give_up(s, "the system gives no huge pages (MADV_COLLAPSE, Linux 6.1)");
    return nullptr;
  }
  return nullptr;
}

// /proc/self/pagemap of this process, -1 where it cannot be had.
int pagemap(State& s) {
  if (s.pagemap_token == process_token()) return s.pagemap;
  s.pagemap_token = process_token();
  const long fd = raw_syscall(SYS_openat, AT_FDCWD, arg("/proc/self/pagemap"), O_RDONLY | O_CLOEXEC);
  s.pagemap = fd < 0 ? -1 : Channel::keep_private(ipc::OwnedFd(static_cast<int>(fd))).release();
  if (s.pagemap < 0) port::log(LogLevel::warning, "/proc/self/pagemap cannot be read: a buffer is passed by reference only once");
  return s.pagemap;
}

}  // namespace

bool overlaps(const void* p, size_t n) {
  const size_t size = load_acquire(g_size);
  if (size == 0 || n == 0) return false;
  const auto begin = reinterpret_cast<uintptr_t>(load_acquire(g_begin)), at = reinterpret_cast<uintptr_t>(p);
  return at < begin + size && (at >= begin || n > begin - at);
}

void enable() { store_release(g_enabled, true); }

namespace {

// No more regions: what is in them stays the program's, and is copied. Under the mutex.
void stop(State& s, const char* why) {
  if (!atomic_exchange(g_enabled, false) || s.slots == nullptr) return;
  give_up(s, why);
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i)
    if (s.slots[i].region.is_open()) s.slots[i].region.retire();
}

}  // namespace

void disable(const char* why) {
  State& s = g_state;
  Guard guard(s.mutex);
  stop(s, why);
}

namespace {

void* allocate_for(size_t n, bool zeroed, Purpose purpose) {
  if (n == 0 || !load_acquire(g_enabled)) return nullptr;
  Channel* channel = Channel::existing();
  if (channel == nullptr) return nullptr;
  State& s = g_state;
  const size_t count = (n - 1) / Region::kPage + 1;
  bool busy = false;
  {
    Guard guard(s.mutex);
    if (s.slots == nullptr && !reserve_address_space(s, *channel)) {
      store_release(g_enabled, false);
      return nullptr;
    }
    // A large part of a region for one allocation would be committed at once, which may never be touched.
    if (count > s.region_size / Region::kPage / 4) return nullptr;
    if (std::byte* p = allocate_in(s, count, zeroed, purpose, busy); p != nullptr || !busy) return p;
  }
  if (in_critical_section()) return nullptr;
  channel->reap(true);  // what ferryd, or another client, is done with, and nobody has noticed
  Channel::reap_pages();
  Guard guard(s.mutex);
  return allocate_in(s, count, zeroed, purpose, busy);
}

}  // namespace

void* allocate(size_t n, bool zeroed) { return n < kLeastAllocation ? nullptr : allocate_for(n, zeroed, Purpose::allocation); }
void* map(size_t n) { return allocate_for(n, true, Purpose::mapping); }

void release(void* p) {
  State& s = g_state;
  Guard guard(s.mutex);
  slot_of(s, p).region.release(static_cast<std::byte*>(p));
}

size_t size_of(const void* p) {
  State& s = g_state;
  Guard guard(s.mutex);
  return slot_of(s, p).region.size_at(static_cast<const std::byte*>(p));
}

namespace {

// Calls act(region, from, bytes) for what [p, p + n) has in each open region.
template <typename Act>
void for_each_part(const void* p, size_t n, Act act) {
  State& s = g_state;
  Guard guard(s.mutex);
  if (s.slots == nullptr) return;
  auto* at = static_cast<std::byte*>(const_cast<void*>(p));
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) {
    Region& region = s.slots[i].region;
    if (!region.is_open()) continue;
    std::byte* from = std::max(at, region.base());
    std::byte* to = std::min(at + n, region.base() + region.size());
    if (from < to) act(region, from, static_cast<size_t>(to - from));
  }
}

}  // namespace

void set_apart(const void* p, size_t n) {
  for_each_part(p, n, [](Region& region, std::byte* from, size_t bytes) { region.set_apart(from, bytes); });
}
void unmap(void* p, size_t n) {
  for_each_part(p, n, [](Region& region, std::byte* from, size_t bytes) { region.unmap(from, bytes); });
}
void clear(void* p, size_t n) {
  for_each_part(p, n, [](Region& region, std::byte* from, size_t bytes) { region.clear(from, bytes); });
}
void lend_address_space(void* p, size_t n) {
  for_each_part(p, n, [](Region& region, std::byte* from, size_t bytes) { region.lend_address_space(from, bytes); });
}

void announce(Channel& channel, uint32_t engine, const void* p) {
  State& s = g_state;
  Guard guard(s.mutex);
  Slot& slot = slot_of(s, p);
  const uint32_t number = number_of(s, slot);
  if (s.forks != 0) end_leases(s);
  if (!slot.region.in_service() || channel.knows_region(engine, number, slot.serial)) return;
  control::Request request;
  control::Reply reply;
  request.op = static_cast<uint32_t>(control::Op::region);
  request.value = number;
  const int memfd = slot.region.memfd();
  const int error = channel.call(engine, request, reply, &memfd, 1);
  if (error == 0) channel.set_region(engine, number, slot.serial);
  else if (error != -ENETDOWN) stop(s, "ferryd does not take a region");
}

Reference refer(const Channel& channel, uint32_t engine, const void* p, size_t n, size_t most) {
  State& s = g_state;
  Guard guard(s.mutex);
  Slot& slot = slot_of(s, p);
  const uint32_t number = number_of(s, slot);
  if (!slot.region.in_service() || !channel.knows_region(engine, number, slot.serial)) return {};
  const auto* at = static_cast<const std::byte*>(p);
  const size_t length = slot.region.refer(at, n, most, channel.server().reference_bytes, WrittenPages(pagemap(s)));
  if (length == 0) return {};
  const uint64_t offset = slot.region.offset_of(at);
  return {offset, static_cast<uint32_t>(length), static_cast<uint16_t>(number), slot.serial,
          reinterpret_cast<uint64_t>(slot.region.base()) + offset};
}

void count_copied(const void* p, size_t n) {
  State& s = g_state;
  Guard guard(s.mutex);
  slot_of(s, p).region.count_copied(static_cast<const std::byte*>(p), n);
}

// Without the mutex: a region is open for as long as anything refers to it.
void unrefer(uint64_t token) {
  Region& region = slot_of(g_state, reinterpret_cast<const std::byte*>(token)).region;
  region.unrefer(token - reinterpret_cast<uint64_t>(region.base()));
  if (region.has_returned()) store_release(g_returned, true);
}

void regain(const Channel& channel) {
  State& s = g_state;
  if (!load_relaxed(g_returned) || !may_regain()) return;
  Guard guard(s.mutex);
  store_relaxed(g_returned, false);
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) {
    Region& region = s.slots[i].region;
    if (region.is_open() && region.in_service() && region.has_returned()) region.regain(channel.server().reference_bytes, WrittenPages(pagemap(s)));
  }
}

void stock_input(const void* program, size_t count) {
  State& s = g_state;
  Guard guard(s.mutex);
  slot_of(s, program).region.stock_input(count);
}

InputPages lend(const Channel& channel, uint32_t engine, const void* program, size_t count) {
  State& s = g_state;
  Guard guard(s.mutex);
  Slot& slot = slot_of(s, program);
  const uint32_t number = number_of(s, slot);
  if (!slot.region.in_service() || !channel.knows_region(engine, number, slot.serial)) return {};
  std::byte* at = slot.region.allocate_input(count);
  if (at == nullptr) return {};
  return {at, count, slot.region.offset_of(at), static_cast<uint16_t>(number)};
}

void take_back(std::byte* input, size_t count) {
  State& s = g_state;
  Guard guard(s.mutex);
  slot_of(s, input).region.release_input(input, count);
}

bool can_swap(const void* program) {
  State& s = g_state;
  Guard guard(s.mutex);
  return slot_of(s, program).region.can_swap(static_cast<const std::byte*>(program));
}

bool swap(void* program, std::byte* input, size_t count) {
  State& s = g_state;
  Guard guard(s.mutex);
  Region& region = slot_of(s, program).region;
  auto* at = static_cast<std::byte*>(program);
  if (&region != &slot_of(s, input).region) return false;
  for (size_t i = 0; i < count; ++i)
    if (!region.can_swap(at + i * Region::kPage)) return false;
  return region.swap(at, input, count);
}

bool is_written(const void* program) {
  State& s = g_state;
  Guard guard(s.mutex);
  return slot_of(s, program).region.is_written(static_cast<const std::byte*>(program), WrittenPages(pagemap(s)));
}

bool adopt(void* program, const ForeignPage& page) {
  State& s = g_state;
  Guard guard(s.mutex);
  Region& region = slot_of(s, program).region;
  auto* at = static_cast<std::byte*>(program);
  return region.can_swap(at) && region.adopt(at, page);
}

void before_fork() {
  State& s = g_state;
  enter_critical();
  s.mutex.lock();
  if (s.slots == nullptr) return;
  end_leases(s);
  const bool in_use = std::any_of(s.slots, s.slots + abi::kMaxRegions, [](const Slot& slot) {
    return slot.region.is_open() && slot.region.has_allocations() && slot.region.memfd() >= 0;
  });
  if (!in_use) return;
  int ends[2] = {-1, -1};
  const bool leased = std::any_of(std::begin(s.leases), std::end(s.leases), [](const Lease& l) { return !l.read_end.valid(); }) &&
                      raw_syscall(SYS_pipe2, arg(ends), O_CLOEXEC) == 0;
  if (leased) {
    s.fork_lease = {++s.forks, Channel::keep_private(ipc::OwnedFd(ends[0]))};
    s.fork_write_end = Channel::keep_private(ipc::OwnedFd(ends[1]));
  }
  for (uint32_t i = 0; i < abi::kMaxRegions; ++i) {
    Slot& slot = s.slots[i];
    if (!slot.region.is_open() || !slot.region.has_allocations() || slot.region.memfd() < 0) continue;
    slot.exposed_by = s.forks;
    leased ? slot.region.expose() : slot.region.retire();
  }
}

void after_fork_in_parent() {
  State& s = g_state;
  Channel::drop_private(s.fork_write_end);
  if (s.fork_lease.read_end.valid())
    *std::find_if(std::begin(s.leases), std::end(s.leases), [](const Lease& l) { return !l.read_end.valid(); }) = std::move(s.fork_lease);
  s.mutex.unlock();
  leave_critical();
}

// What the child has of its parent's: memory of exposed regions, and the pipe's end that says so until the child ends or executes. References
// are the parent's business.
void after_fork_in_child() {
  State& s = g_state;
  s.logged = false;
  Channel::drop_private(s.fork_lease.read_end);
  for (Lease& lease : s.leases) Channel::drop_private(lease.read_end);
  (void)s.fork_write_end.release();
  ipc::OwnedFd old_pagemap(std::exchange(s.pagemap, -1));
  Channel::drop_private(old_pagemap);
  s.pagemap_token = 0;
  for (uint32_t i = 0; s.slots != nullptr && i < abi::kMaxRegions; ++i) {
    Region& region = s.slots[i].region;
    if (!region.is_open()) continue;
    region.forget_references();
    region.retire();
  }
  s.mutex.unlock();
  leave_critical();
}

}  // namespace ferry::client::regions
