// The regions of this process (region.h): which allocations are served from them, and how output refers to them.
//
// Begins when enable() is called (the scheme `emulated`) and this process has a channel to ferryd: a program without Ferry sockets pays
// nothing. Nothing here is ever an error: what a region cannot serve is ordinary memory, and what cannot be referred to is copied, with
// one line in the log for the reason.
//
// fork: regions with memory in use are exposed (Region::expose) before, by a handler of pthread_atfork(3), and come back into service when
// the last child that has their pages has ended or executed; meanwhile the parent makes another, and so does the child. Threads: everything may be called by any thread; one mutex, never held over a wait other than a control call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/atomics.h"
#include "client/process.h"

namespace ferry::client {

class Channel;
struct ForeignPage;

namespace regions {

// Allocations of fewer bytes are not served; mappings are, each in huge pages of its own.
inline constexpr size_t kLeastAllocation = size_t{1} << 20;

// The address space of all regions; empty until the first allocation. Read without a lock: it is set once.
extern std::byte* g_begin;
extern size_t g_size;
// Whether `p` was allocated here.
inline bool contains(const void* p) {
  return static_cast<size_t>(static_cast<const std::byte*>(p) - __atomic_load_n(&g_begin, __ATOMIC_RELAXED)) <
         __atomic_load_n(&g_size, __ATOMIC_RELAXED);
}
// Whether any byte of [p, p + n) is in that address space.
bool overlaps(const void* p, size_t n);

void enable();
// No more allocations and references, for good; memory in use stays valid. `why` goes to the log.
void disable(const char* why);

// Memory of at least `n` bytes at a multiple of the huge page size, zero bytes if `zeroed`. nullptr: not served, use ordinary memory.
void* allocate(size_t n, bool zeroed);
// Gives back what allocate() gave; contains(p).
void release(void* p);
// Bytes of the allocation that begins at p; 0: none does, or a mapping (of some other allocator, perhaps, that p belongs to).
size_t size_of(const void* p);
// The same for a mapping: zero bytes, given back by unmap() alone, as a whole or in parts.
void* map(size_t n);
// The program treats [p, p + n) in a way of its own (mprotect, madvise): ordinary private memory from now on, in place.
void set_apart(const void* p, size_t n);

// The same for memory that is not freed as a whole: as munmap(2), MADV_DONTNEED and MAP_FIXED have it, for the part of [p, p + n) that is
// in regions. Ends at small pages.
void unmap(void* p, size_t n);
void clear(void* p, size_t n);
void lend_address_space(void* p, size_t n);

// --- output ---
struct Reference {
  uint64_t offset = 0;  // in the region
  uint32_t length = 0;  // bytes; 0: they have to be copied
  uint16_t region = 0;  // number, abi::Descriptor
  uint32_t serial = 0;  // how many regions have had that number
  uint64_t token = 0;   // for unrefer(); not 0
};
// Lets the server of `channel` have the region that holds `p`, if it has not. Blocks for one control call at the first time.
void announce(Channel& channel, uint32_t engine, const void* p);
// As many of the `most` bytes at `p` as are in one page, not to change any more in what the server sees. `n` bytes, `most` at least, are
// to follow in this call of the program's. A page is got ready for that when what was copied of it as output would have paid for it (or
// when as much follows in this call).
Reference refer(const Channel& channel, uint32_t engine, const void* p, size_t n, size_t most);
void unrefer(uint64_t token);
// What output does not refer to any more is the program's as before it was sent (Region::regain), where nobody else can be writing to it; else
// nothing happens. To be called by what sends and receives; quick when there is nothing.
void regain(const Channel& channel);
// Whether regain() is of use in this process.
inline bool may_regain() { return load_relaxed(g_size) != 0 && is_only_writer(); }
// `n` bytes at `p` were copied that refer() did not refer to.
void count_copied(const void* p, size_t n);

// --- input (client/input_window.h) ---
// Huge pages in a row, for the server to fill; they lie in a row in the region, too.
struct InputPages {
  std::byte* at = nullptr;  // nullptr: none
  size_t count = 0;
  uint64_t offset = 0;      // in the region
  uint16_t region = 0;      // number, abi::InputPiece
};
// `program` is in a region: makes `count` pages ready for lend(). May take milliseconds.
void stock_input(const void* program, size_t count);
// At most `count` pages of the region that holds `program`, which the engine has. Quick.
InputPages lend(const Channel& channel, uint32_t engine, const void* program, size_t count);
// Gives back pages of lend(), which the server does not fill any more.
void take_back(std::byte* input, size_t count);
// Whether the page that holds `program` can change places with one of lend().
bool can_swap(const void* program);
// Whole pages at `input`, of lend(), take the places of those at `program`; then they are given back. False: nothing has changed.
bool swap(void* program, std::byte* input, size_t count);

// Whether the page that is at `program` now came by adopt(), and has been written to: copying would have been better.
bool is_written(const void* program);
// A page of another process's takes the place of the program's at `program`, the start of a page. False: nothing has changed.
bool adopt(void* program, const ForeignPage& page);

// --- fork ---
void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

}  // namespace regions
}  // namespace ferry::client
