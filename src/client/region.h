// One region: memory of the program's in huge pages of a sealed memfd, so that output can be referred to where it is
// (docs/architecture.md, "Emulated copy"), and input can come by exchanging pages. Every page of the address space has one page of the
// memfd, at first the one with its own number; swap() exchanges those of two.
//
//            allocate                lend                    written by the program
//     free ------------> owned ------------------> lent ------------------------> apart
//      ^   MAP_SHARED,    ^ ^    MAP_PRIVATE in     |     the kernel has copied     |
//      |   writes reach   | |    place: writes      |     4 KiB of it: copied on    |
//      |   the memfd      | |    no longer do       |     output from now on        |
//      |                  | +--- regain: nothing refers to it any more              |
//      |                  +-------- swap: another page of the memfd, shared --------+
//      +------------------------- release (and nothing refers to it) ---------------+
//     free --allocate_input--> input (the server fills it) --swap, release_input--> free
//     owned, lent, apart --adopt--> apart: a page of another process's memfd, mapped privately, until something else is mapped there
//
// TCOW is the kernel's: what output refers to is mapped privately, so that a write copies the small page that it touches, whoever
// writes (another thread, read(2), a child after fork), and the memfd keeps what was sent. The way back, from private to shared, would
// lose a write that comes in between, so it is only for who is alone (regain). A page that was written to, more than a little or
// where another thread might, stays apart until it is released, cleared (MADV_DONTNEED), or received into as a whole.
// What the program has treated in a way of its own (mprotect, a hole, a mapping) is neither referred to nor exchanged.
//
// Owns: the memfd, the mapping, what each page is. No lock of its own (regions.h has one); `unrefer` may be called by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "client/foreign_page.h"
#include "ipc/abi.h"
#include "ipc/owned_fd.h"

namespace ferry::client {

// Which of a range's small pages the kernel has copied, by /proc/self/pagemap (proc(5)). Descriptors are the owner's business.
class WrittenPages {
 public:
  explicit WrittenPages(int pagemap) : fd_(pagemap) {}
  // Whether [p, p + n) of a private mapping holds a page of its own; true also when that cannot be told.
  bool any(const std::byte* p, size_t n) const { return find(p, n, {}) != 0; }
  // How many there are, the first of them in `found`, counted from p's. More than it holds: at least so many, or it cannot be told.
  size_t find(const std::byte* p, size_t n, std::span<uint16_t> found) const;

 private:
  int fd_;
};

class Region {
 public:
  static constexpr size_t kPage = ipc::abi::kHugePageSize;
  static constexpr size_t kMostPutBack = 8;              // small pages of one huge page
  static constexpr size_t kKept = size_t{64} << 20;  // free memory that is not given back to the system at once, bytes

  Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  // Makes the memfd; [base, base + size) is address space of the caller's without access, whole huge pages. Errc::no_memory.
  Status open(std::byte* base, size_t size);
  bool is_open() const { return pages_ != nullptr; }
  // Nobody has memory in it, and no output refers to it.
  bool is_idle() const;
  bool has_allocations() const { return allocated_ != 0; }
  // Leaves address space without access behind.
  void close();

  // `count` huge pages in a row; zero bytes if `zeroed`, else perhaps what the program left in them. nullptr: no room or no huge pages, see
  // out_of_huge_pages(). `busy`: there would be room but for memory that output still refers to.
  std::byte* allocate(size_t count, bool zeroed, bool& busy);
  bool out_of_huge_pages() const { return out_of_huge_pages_; }
  // Gives back what allocate() gave. What output refers to is used again only when it no longer does.
  void release(std::byte* start);
  // As munmap(2) for any small pages of the region: afterwards without access. A huge page is given back with its last small one.
  void unmap(std::byte* p, size_t n);
  // As MADV_DONTNEED for private memory: zeros from now on.
  void clear(std::byte* p, size_t n);
  // [p, p + n) is to hold a mapping of the program's own until it is unmapped.
  void lend_address_space(std::byte* p, size_t n);
  // Bytes of the allocation that begins at `start`; 0: none does.
  size_t size_at(const std::byte* start) const { return offset_of(start) % kPage == 0 ? pages_[index_of(start)].extent * kPage : 0; }
  // What allocate() gave is a mapping: it has no beginning that release() could know it by.
  void make_mapping(std::byte* start) { pages_[index_of(start)].extent = 0; }

  // Makes the bytes at `p` safe to refer to, as many of `most` as are in one huge page, and counts a reference. `n` >= `most` bytes are
  // going to be referred to in this call of the program's. 0: they have to be copied, for one because a page that was not lent yet is only for
  // `least` bytes: of this call, or copied from there before.
  size_t refer(const std::byte* p, size_t n, size_t most, size_t least, const WrittenPages& written);
  // `n` bytes at `p` were copied as output.
  void count_copied(const std::byte* p, size_t n);
  // Of a reference to the byte at this offset of the memfd.
  void unrefer(uint64_t offset);
  // Whether pages that were lent may have lost their last reference since the last regain(). Any thread.
  bool has_returned() const;
  // Such pages are owned again if references to `least` bytes of them have paid for it, so that writes copy nothing. Of up to kMostPutBack small
  // pages that were written to meanwhile the memfd gets what they hold; a page with more, or where that cannot be told, becomes apart. Only
  // while nobody else writes here.
  void regain(size_t least, const WrittenPages& written);

  // --- input ---
  // Up to `count` huge pages in a row, in the memfd as well, for the server to fill; `count` is set to how many. Only pages that the memfd has
  // already, see stock_input(). They are shared with it and with no child. nullptr: none.
  std::byte* allocate_input(size_t& count);
  void release_input(std::byte* p, size_t count);
  // Makes sure that `count` pages, or as many as there is room for, are there for allocate_input(). May take milliseconds.
  void stock_input(size_t count);
  // Whether the page that holds the byte can be exchanged.
  bool can_swap(const std::byte* p) const;
  // `count` pages at `input` take the places of those at `program`, all of which can be exchanged; what was there is free memory, when nothing
  // refers to it. False: the system refuses, and the program's memory is what it was.
  bool swap(std::byte* program, std::byte* input, size_t count);

  // A page of another process's takes the place of the program's at `program`, which can be exchanged. False: the system refuses, and the
  // program's memory is what it was.
  bool adopt(std::byte* program, const ForeignPage& page);
  // Whether the program has written to the page that it has from another process, as far as the first small ones tell.
  bool is_written(const std::byte* program, const WrittenPages& written) const;

  // From now on private memory like any other, in place. Nothing is allocated or referred to, and no page of the memfd is used again, until
  // resume(): children may have them mapped. What was in use then stays private until it is released.
  void expose();
  void resume();
  // As expose(), for good.
  void retire();
  bool in_service() const { return !exposed_ && memfd_.valid(); }
  bool is_exposed() const { return exposed_; }
  // The same for the pages that hold [p, p + n), n >= 1, inside of the region, which the program is about to treat in its own way.
  void set_apart(const std::byte* p, size_t n);
  // In a child: forgets the parent's output, what it has of others, and the memory that is lent for its input.
  void forget_references();

  std::byte* base() const { return base_; }
  size_t size() const { return size_; }
  int memfd() const { return memfd_.get(); }  // -1 once retired
  bool contains(const void* p) const { return static_cast<size_t>(static_cast<const std::byte*>(p) - base_) < size_; }
  // Where in the memfd the byte is.
  uint64_t offset_of(const std::byte* p) const {
    return uint64_t{pages_[index_of(p)].file} * kPage + static_cast<size_t>(p - base_) % kPage;
  }

 private:
  enum State : uint8_t { kFree, kOwned, kLent, kApart, kTreated, kInput };
  struct Page {
    uint32_t extent;  // pages of the allocation that begins here, 0: none does, or it is a mapping
    uint32_t file;    // number of its page in the memfd: a permutation
    uint32_t copied;  // bytes, as output, since it became the program's; does not go on for ever
    uint32_t carried; // the same of references since it became kLent
    State state;
    bool has_holes;   // some of its small pages have been unmapped: bits in holes_
  };
  struct FilePage {
    uint32_t references;  // pieces of output; atomic
    bool resident;        // the memfd has it, and perhaps not zero
  };
  // What other process's page is mapped in place of a page's own; owner nullptr: none.
  struct Hold {
    HoldOwner* owner;
    uint64_t id;
  };
  FilePage& file_of(size_t page) const { return files_[pages_[page].file]; }
  void make_owned(size_t page);
  bool is_free(size_t page) const;
  size_t row(size_t first, size_t most) const;
  size_t index_of(const std::byte* p) const { return static_cast<size_t>(p - base_) / kPage; }
  size_t count() const { return size_ / kPage; }
  static size_t table_size(size_t size);
  size_t find_run(size_t count, bool& busy) const;
  bool populate(size_t first, size_t count);
  bool map(size_t first, size_t count, int flags) { return map_most(first, count, flags) == count; }
  size_t map_most(size_t first, size_t count, int flags);
  void reserve(size_t first, size_t count);
  void set_apart_pages(size_t first, size_t end, State state);
  bool is_done(size_t page, size_t least) const;
  void put_back(size_t page, std::span<const uint16_t> small);
  bool can_renew(size_t page) const;
  bool renew(size_t first, size_t end);
  void end_hold(size_t page);
  void make_own(size_t first, size_t end);
  void punch(size_t first, size_t count);
  void trim();
  void free_pages(size_t first, size_t end);
  bool add_hole(size_t page, size_t from, size_t to);

  ipc::OwnedFd memfd_;
  std::byte* base_ = nullptr;
  size_t size_ = 0;
  Page* pages_ = nullptr;
  FilePage* files_ = nullptr; // by number in the memfd, behind pages_
  Hold* holds_ = nullptr;     // by page, behind files_
  uint64_t* holes_ = nullptr; // a bit per small page, behind holds_
  size_t allocated_ = 0;      // pages
  bool exposed_ = false;
  bool out_of_huge_pages_ = false;
  bool returned_ = false;     // atomic
};

}  // namespace ferry::client
