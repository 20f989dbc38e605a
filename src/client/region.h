// One region: memory of the program's in huge pages of a sealed memfd, so that output can be referred to where it is
// (docs/architecture.md, "Emulated copy"). Byte i of the memfd is mapped at base + i, or nowhere.
//
//            allocate                lend                    written by the program
//     free ------------> owned ------------------> lent ------------------------> apart
//      ^   MAP_SHARED,           MAP_PRIVATE in           the kernel has copied
//      |   writes reach          place: writes            4 KiB of it: copied on
//      |   the memfd             no longer do             output from now on
//      +------------------------- release (and nothing refers to it) ------+
//
// TCOW is the kernel's: what output refers to is mapped privately, so that a write copies the small page that it touches, whoever
// writes (another thread, read(2), a child after fork), and the memfd keeps what was sent. The way back, from private to shared, would
// lose a write that comes in between; so a page that has been written to stays apart until it is released.
//
// Owns: the memfd, the mapping, what each page is. No lock of its own (regions.h has one); `unrefer` may be called by any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "ipc/abi.h"
#include "ipc/owned_fd.h"

namespace ferry::client {

// Which of a range's small pages the kernel has copied, by /proc/self/pagemap (proc(5)). Descriptors are the owner's business.
class WrittenPages {
 public:
  explicit WrittenPages(int pagemap) : fd_(pagemap) {}
  // Whether [p, p + n) of a private mapping holds a page of its own; true also when that cannot be told.
  bool any(const std::byte* p, size_t n) const;

 private:
  int fd_;
};

class Region {
 public:
  static constexpr size_t kPage = ipc::abi::kHugePageSize;
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
  // Bytes of the allocation that begins at `start`.
  size_t size_at(const std::byte* start) const { return pages_[index_of(start)].extent * kPage; }

  // Makes the bytes at `p` safe to refer to, as many of `most` as are in one huge page, and counts a reference. `n` >= `most` bytes are
  // going to be referred to in this call of the program's. 0: they have to be copied.
  size_t refer(const std::byte* p, size_t n, size_t most, const WrittenPages& written);
  void unrefer(const std::byte* p);

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
  // In a child: forgets the parent's output.
  void forget_references();

  std::byte* base() const { return base_; }
  size_t size() const { return size_; }
  int memfd() const { return memfd_.get(); }  // -1 once retired
  bool contains(const void* p) const { return static_cast<size_t>(static_cast<const std::byte*>(p) - base_) < size_; }
  uint64_t offset_of(const std::byte* p) const { return static_cast<uint64_t>(p - base_); }

 private:
  enum State : uint8_t { kFree, kOwned, kLent, kApart };
  struct Page {
    uint32_t references;  // pieces of output; atomic
    uint32_t extent;      // pages of the allocation that begins here, 0: none does
    State state;
    bool has_holes;       // some of its small pages have been unmapped: bits in holes_
    bool resident;        // the memfd has it, and perhaps not zero
  };
  size_t index_of(const std::byte* p) const { return static_cast<size_t>(p - base_) / kPage; }
  size_t count() const { return size_ / kPage; }
  static size_t table_size(size_t size);
  size_t find_run(size_t count, bool& busy) const;
  bool populate(size_t first, size_t count);
  bool map(size_t first, size_t count, int flags);
  void reserve(size_t first, size_t count);
  void set_apart_pages(size_t first, size_t end);
  void punch(size_t first, size_t count);
  void trim();
  void free_pages(size_t first, size_t end);
  bool add_hole(size_t page, size_t from, size_t to);

  ipc::OwnedFd memfd_;
  std::byte* base_ = nullptr;
  size_t size_ = 0;
  Page* pages_ = nullptr;
  uint64_t* holes_ = nullptr; // a bit per small page, behind pages_
  size_t allocated_ = 0;      // pages
  bool exposed_ = false;
  bool out_of_huge_pages_ = false;
};

}  // namespace ferry::client
