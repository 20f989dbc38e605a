#include "client/region.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/atomics.h"
#include "client/channel.h"
#include "ipc/syscall.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace ferry::client {
namespace {

using ipc::arg;
using ipc::raw_syscall;

constexpr size_t kSmallPage = 4096;
constexpr size_t kSmallPages = Region::kPage / kSmallPage;  // in a huge page
constexpr size_t kHoleWords = kSmallPages / 64;             // of a huge page

bool failed(long r) { return r < 0 && r > -4096; }

long map_at(void* at, size_t n, int protection, int flags, int fd, uint64_t offset) {
  return raw_syscall(SYS_mmap, arg(at), static_cast<long>(n), protection, flags, fd, static_cast<long>(offset));
}

// Whether this process may have files of so many bytes: ftruncate(2) kills it otherwise (SIGXFSZ).
bool may_have_file_of(size_t size) {
  rlimit limit{};
  return raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, arg(&limit)) == 0 && limit.rlim_cur >= size;
}

// Makes huge pages of small ones. EAGAIN: somebody was just looking at one of them (madvise(2)).
bool collapse(std::byte* p, size_t n) {
  constexpr int kTries = 5;
  long r = -EAGAIN;
  for (int i = 0; i < kTries && r == -EAGAIN; ++i) r = raw_syscall(SYS_madvise, arg(p), static_cast<long>(n), MADV_COLLAPSE);
  return r == 0;
}

}  // namespace

Region::~Region() {
  if (is_open()) close();
}

// Bytes of the book-keeping of `size` bytes.
size_t Region::table_size(size_t size) {
  return size / kPage * (sizeof(Page) + sizeof(FilePage) + sizeof(Hold) + kHoleWords * sizeof(uint64_t));
}

Status Region::open(std::byte* base, size_t size) {
  const long table = map_at(nullptr, table_size(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(table)) return Errc::no_memory;
  memfd_ = Channel::keep_private(
      ipc::OwnedFd(static_cast<int>(raw_syscall(SYS_memfd_create, arg("ferry-region"), MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  base_ = base;
  size_ = size;
  pages_ = reinterpret_cast<Page*>(table);
  files_ = reinterpret_cast<FilePage*>(pages_ + count());
  holds_ = reinterpret_cast<Hold*>(files_ + count());
  holes_ = reinterpret_cast<uint64_t*>(holds_ + count());
  for (size_t i = 0; i < count(); ++i) pages_[i].file = static_cast<uint32_t>(i);
  allocated_ = 0;
  exposed_ = out_of_huge_pages_ = false;
  if (memfd_.valid() && may_have_file_of(size) && raw_syscall(SYS_ftruncate, memfd_.get(), static_cast<long>(size)) == 0 &&
      raw_syscall(SYS_fcntl, memfd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return {};
  close();
  return Errc::no_memory;
}

bool Region::is_idle() const {
  if (allocated_ != 0) return false;
  return std::all_of(files_, files_ + count(), [](const FilePage& f) { return load_acquire(f.references) == 0; });
}

void Region::close() {
  reserve(0, count());
  raw_syscall(SYS_munmap, arg(pages_), static_cast<long>(table_size(size_)));
  pages_ = nullptr;
  Channel::drop_private(memfd_);
}

// How many of the pages from `first` on, at most `most`, follow each other in the memfd.
size_t Region::row(size_t first, size_t most) const {
  size_t n = 1;
  while (n < most && pages_[first + n].file == pages_[first].file + n) ++n;
  return n;
}

// Maps the pages from `first` on to what they have of the memfd; how many: fewer if the system refuses.
size_t Region::map_most(size_t first, size_t count, int flags) {
  size_t done = 0;
  while (done < count) {
    const size_t at = first + done, n = row(at, count - done);
    if (failed(map_at(base_ + at * kPage, n * kPage, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, memfd_.get(),
                      uint64_t{pages_[at].file} * kPage)))
      break;
    done += n;
  }
  return done;
}

void Region::reserve(size_t first, size_t count) {
  map_at(base_ + first * kPage, count * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

void Region::make_owned(size_t page) {
  pages_[page].state = kOwned;
  pages_[page].copied = 0;
}

bool Region::is_free(size_t page) const { return pages_[page].state == kFree && load_acquire(file_of(page).references) == 0; }

// The first run of `count` pages that nobody uses; the region's size / kPage: none.
size_t Region::find_run(size_t count, bool& busy) const {
  size_t free = 0;
  for (size_t i = 0; i < this->count(); ++i) {
    if (pages_[i].state == kFree && !is_free(i)) busy = true;
    free = is_free(i) ? free + 1 : 0;
    if (free == count) return i + 1 - count;
  }
  return this->count();
}

// The pages of [first, first + count) that the memfd does not have, as huge pages. False: the system has none.
bool Region::populate(size_t first, size_t count) {
  for (size_t i = first; i < first + count;) {
    size_t end = i;
    while (end < first + count && !file_of(end).resident) ++end;
    if (end == i) {
      ++i;
      continue;
    }
    // An empty huge page cannot be collapsed: each gets a small one first, by a call that can fail (a touch would be SIGBUS).
    bool good = true;
    for (size_t k = i; k < end && good; ++k)
      good = raw_syscall(SYS_fallocate, memfd_.get(), 0, static_cast<long>(pages_[k].file * kPage), kSmallPage) == 0;
    if (!good || !collapse(base_ + i * kPage, (end - i) * kPage)) {
      punch(i, end - i);
      return false;
    }
    for (; i < end; ++i) file_of(i).resident = true;
  }
  return true;
}

std::byte* Region::allocate(size_t count, bool zeroed, bool& busy) {
  busy = false;
  if (!in_service() || count == 0) return nullptr;
  const size_t first = find_run(count, busy);
  if (first == this->count()) return nullptr;
  std::byte* start = base_ + first * kPage;
  bool used_before = false;
  for (size_t i = first; i < first + count; ++i) used_before |= file_of(i).resident;
  if (!map(first, count, MAP_SHARED)) return nullptr;
  if (!populate(first, count)) {
    out_of_huge_pages_ = true;
    reserve(first, count);
    return nullptr;
  }
  if (zeroed && used_before) std::memset(start, 0, count * kPage);
  for (size_t i = first; i < first + count; ++i) make_owned(i);
  pages_[first].extent = static_cast<uint32_t>(count);
  allocated_ += count;
  return start;
}

void Region::release(std::byte* start) {
  const size_t first = index_of(start);
  free_pages(first, first + pages_[first].extent);
}

void Region::free_pages(size_t first, size_t end) {
  reserve(first, end - first);
  for (size_t i = first; i < end; ++i) {
    Page& page = pages_[i];
    end_hold(i);
    if (page.has_holes) std::memset(holes_ + i * kHoleWords, 0, kHoleWords * sizeof(uint64_t));
    page.has_holes = false;
    page.extent = 0;
    if (page.state != kFree) --allocated_;
    page.state = kFree;
  }
  if (in_service()) trim();
}

// Marks small pages [from, to) of a huge page; true: none is left.
bool Region::add_hole(size_t page, size_t from, size_t to) {
  uint64_t* words = holes_ + page * kHoleWords;
  for (size_t i = from; i < to; ++i) words[i / 64] |= uint64_t{1} << i % 64;
  pages_[page].has_holes = true;
  return std::all_of(words, words + kHoleWords, [](uint64_t word) { return word == ~uint64_t{0}; });
}

void Region::unmap(std::byte* p, size_t n) {
  const std::byte* end = p + n;
  for (size_t i = index_of(p); i < count() && base_ + i * kPage < end;) {
    std::byte* page = base_ + i * kPage;
    std::byte* from = std::max(p, page);
    const std::byte* to = std::min<const std::byte*>(end, page + kPage);
    if (from == page && to == page + kPage) {
      const size_t whole = static_cast<size_t>(end - page) / kPage;
      free_pages(i, i + whole);
      i += whole;
      continue;
    }
    if (pages_[i].state != kFree) {
      make_own(i, i + 1);
      set_apart_pages(i, i + 1, kTreated);
      map_at(from, static_cast<size_t>(to - from), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
      if (add_hole(i, static_cast<size_t>(from - page) / kSmallPage, static_cast<size_t>(to - page) / kSmallPage)) free_pages(i, i + 1);
    }
    ++i;
  }
}

// Whole pages that nobody refers to begin anew. (Allocators clear what they do not use, and keep it: it is to be of use again.)
void Region::clear(std::byte* p, size_t n) {
  const std::byte* end = p + n;
  for (size_t i = index_of(p); i < count() && base_ + i * kPage < end;) {
    size_t stop = i;
    while (base_ + stop * kPage >= p && base_ + (stop + 1) * kPage <= end && can_renew(stop)) ++stop;
    if (stop > i && renew(i, stop)) {
      i = stop;
      continue;
    }
    std::byte* from = std::max(p, base_ + i * kPage);
    const std::byte* to = std::min<const std::byte*>(end, base_ + (i + 1) * kPage);
    set_apart_pages(i, i + 1, kApart);
    map_at(from, static_cast<size_t>(to - from), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    ++i;
  }
}

bool Region::can_renew(size_t page) const {
  const State state = pages_[page].state;
  return in_service() && (state == kOwned || state == kLent || state == kApart) && !pages_[page].has_holes &&
         load_acquire(file_of(page).references) == 0;
}

// The memfd's bytes go, and come back as zeros, in small pages, when they are touched.
bool Region::renew(size_t first, size_t end) {
  punch(first, end - first);
  if (!map(first, end - first, MAP_SHARED)) return false;
  for (size_t i = first; i < end; ++i) {
    end_hold(i);
    make_owned(i);
    file_of(i).resident = true;  // soon perhaps, and then not zero
  }
  return true;
}

void Region::lend_address_space(std::byte* p, size_t n) {
  set_apart(p, n);
  for (size_t i = index_of(p); i <= index_of(p + n - 1); ++i) {
    if (pages_[i].state != kFree) continue;
    pages_[i].state = kTreated;
    ++allocated_;
  }
}

void Region::punch(size_t first, size_t count) {
  for (const size_t end = first + count; first < end;) {
    const size_t n = row(first, end - first);
    raw_syscall(SYS_fallocate, memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<long>(pages_[first].file * kPage),
                static_cast<long>(n * kPage));
    for (size_t i = first; i < first + n; ++i) file_of(i).resident = false;
    first += n;
  }
}

// Gives back free memory beyond kKept, from the end: low pages are used first.
void Region::trim() {
  size_t kept = 0;
  for (size_t i = 0; i < count(); ++i) {
    if (!is_free(i) || !file_of(i).resident) continue;
    kept += kPage;
    if (kept > kKept) punch(i, 1);
  }
}

void Region::stock_input(size_t count) {
  size_t there = 0;
  for (size_t i = 0; i < this->count() && there < count; ++i) there += is_free(i) && file_of(i).resident;
  if (!in_service() || there == count || out_of_huge_pages_) return;
  // Beside what is there already, so that they are in a row.
  bool busy = false;
  if (std::byte* p = allocate(count, false, busy)) release(p);
}

std::byte* Region::allocate_input(size_t& count) {
  if (!in_service()) return nullptr;
  size_t first = 0, most = 0;  // the longest row, no longer than wanted
  for (size_t i = 0; i < this->count() && most < count; ++i) {
    size_t n = 0;
    while (n < count && i + n < this->count() && is_free(i + n) && file_of(i + n).resident && row(i, n + 1) == n + 1) ++n;
    if (n > most) first = i, most = n;
  }
  count = most;
  if (most == 0) return nullptr;
  if (!map(first, most, MAP_SHARED)) return reserve(first, most), nullptr;
  std::byte* start = base_ + first * kPage;
  raw_syscall(SYS_madvise, arg(start), static_cast<long>(most * kPage), MADV_DONTFORK);
  for (size_t i = first; i < first + most; ++i) pages_[i].state = kInput;
  allocated_ += most;
  return start;
}

void Region::release_input(std::byte* p, size_t count) { free_pages(index_of(p), index_of(p) + count); }

bool Region::can_swap(const std::byte* p) const {
  const State state = pages_[index_of(p)].state;
  return in_service() && (state == kOwned || state == kLent || state == kApart);
}

bool Region::swap(std::byte* program, std::byte* input, size_t count) {
  const size_t first = index_of(program), other = index_of(input);
  const auto exchange = [&] {
    for (size_t i = 0; i < count; ++i) std::swap(pages_[first + i].file, pages_[other + i].file);
  };
  exchange();
  if (!map(first, count, MAP_SHARED)) return exchange(), false;
  for (size_t i = first; i < first + count; ++i) {
    end_hold(i);
    make_owned(i);
  }
  free_pages(other, other + count);
  return true;
}

bool Region::adopt(std::byte* program, const ForeignPage& page) {
  const size_t i = index_of(program);
  if (failed(map_at(base_ + i * kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, page.memfd, page.offset))) return false;
  end_hold(i);
  holds_[i] = {page.owner, page.hold};
  pages_[i].state = kApart;
  return true;
}

bool Region::is_written(const std::byte* program, const WrittenPages& written) const {
  constexpr size_t kSample = 64 * 1024;  // bytes: who overwrites a page begins somewhere, mostly there
  const size_t i = index_of(program);
  return holds_[i].owner != nullptr && written.any(base_ + i * kPage, kSample);
}

// The page's own memory, or none, is mapped again.
void Region::end_hold(size_t page) {
  const Hold hold = std::exchange(holds_[page], {});
  if (hold.owner != nullptr) hold.owner->end_hold(hold.id);
}

// What other processes' pages hold becomes memory of this one's, where it is: the kernel copies as if all of it was written to, and no write
// of another thread is lost. A page that cannot be copied stays in its writer's memory for good.
void Region::make_own(size_t first, size_t end) {
  for (size_t i = first; i < end; ++i) {
    if (holds_[i].owner == nullptr) continue;
    if (raw_syscall(SYS_madvise, arg(base_ + i * kPage), static_cast<long>(kPage), MADV_POPULATE_WRITE) == 0) end_hold(i);
    else holds_[i] = {};
  }
}

// From shared to private nothing is lost: what was written before the change is in the memfd, what comes later is a copy.
void Region::set_apart_pages(size_t first, size_t end, State state) {
  while (first < end) {
    size_t stop = first;
    while (stop < end && pages_[stop].state == kOwned) ++stop;
    if (stop > first) map(first, stop - first, MAP_PRIVATE);
    for (size_t i = first; i < stop; ++i) pages_[i].state = state;
    if (stop < end && (pages_[stop].state == kLent || pages_[stop].state == kApart)) pages_[stop].state = state;
    first = std::max(stop, first + 1);
  }
}

void Region::set_apart(const std::byte* p, size_t n) {
  make_own(index_of(p), index_of(p + n - 1) + 1);
  set_apart_pages(index_of(p), index_of(p + n - 1) + 1, kTreated);
}

void Region::expose() {
  make_own(0, count());
  set_apart_pages(0, count(), kApart);
  exposed_ = true;
}

void Region::resume() {
  exposed_ = false;
  trim();
}

void Region::retire() {
  expose();
  Channel::drop_private(memfd_);
}

void Region::forget_references() {
  for (size_t i = 0; i < count(); ++i) {
    store_relaxed(files_[i].references, 0u);
    holds_[i] = {};
    if (pages_[i].state == kInput) free_pages(i, i + 1);
  }
}

}  // namespace ferry::client
