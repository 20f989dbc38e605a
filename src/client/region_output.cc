// Output by reference from a region: which pages are lent, which have been written to since, and the way back.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/atomics.h"
#include "client/region.h"
#include "ipc/syscall.h"

namespace ferry::client {
namespace {

using ipc::arg;
using ipc::raw_syscall;

constexpr size_t kSmallPage = 4096;
// Bytes of output of a page, which are not counted for ever.
uint32_t count_up(uint32_t count, size_t n) { return static_cast<uint32_t>(std::min(count + n, size_t{1} << 31)); }

}  // namespace

size_t WrittenPages::find(const std::byte* p, size_t n, std::span<uint16_t> found) const {
  const size_t more = found.size() + 1;
  if (fd_ < 0) return more;
  constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62, kOfFile = uint64_t{1} << 61;
  constexpr size_t kAtOnce = 512;
  uint64_t entries[kAtOnce];
  const size_t first = reinterpret_cast<uintptr_t>(p) / kSmallPage;
  size_t page = first, count = 0;
  const size_t end = (reinterpret_cast<uintptr_t>(p) + n + kSmallPage - 1) / kSmallPage;
  while (page < end) {
    const size_t wanted = std::min(end - page, kAtOnce) * sizeof entries[0];
    const long r = raw_syscall(SYS_pread64, fd_, arg(entries), static_cast<long>(wanted), static_cast<long>(page * sizeof entries[0]));
    if (r < static_cast<long>(sizeof entries[0])) return more;
    const size_t got = static_cast<size_t>(r) / sizeof entries[0];
    for (size_t i = 0; i < got; ++i) {
      if ((entries[i] & (kPresent | kSwapped)) == 0 || (entries[i] & kOfFile) != 0) continue;
      if (count == found.size()) return more;
      found[count++] = static_cast<uint16_t>(page + i - first);
    }
    page += got;
  }
  return count;
}

size_t Region::refer(const std::byte* p, size_t n, size_t most, size_t least, const WrittenPages& written) {
  if (!in_service()) return 0;
  const size_t i = index_of(p);
  const size_t here = std::min(most, kPage - static_cast<size_t>(p - base_) % kPage);
  Page& page = pages_[i];
  if (page.state == kOwned) {
    if (n < least && page.copied < least) return 0;
    // What follows in the same call comes at once: one system call for all of it.
    size_t end = i;
    const size_t last = std::min(index_of(p + n - 1), count() - 1);
    while (end <= last && pages_[end].state == kOwned) ++end;
    const size_t mapped = map_most(i, end - i, MAP_PRIVATE);
    for (size_t k = i; k < i + mapped; ++k) pages_[k].state = kLent, pages_[k].carried = 0;
    if (mapped == 0) return 0;
  } else if (page.state != kLent) {
    return 0;
  } else if (written.any(p, here)) {
    page.state = kApart;
    return 0;
  }
  atomic_add(file_of(i).references, 1u);
  page.carried = count_up(page.carried, here);
  return here;
}

void Region::count_copied(const std::byte* p, size_t n) {
  if (!in_service()) return;
  for (size_t i = index_of(p), from = static_cast<size_t>(p - base_) % kPage; n > 0 && i < count(); ++i, from = 0) {
    const size_t here = std::min(n, kPage - from);
    pages_[i].copied = count_up(pages_[i].copied, here);
    n -= here;
  }
}

void Region::unrefer(uint64_t offset) {
  if (atomic_add(files_[offset / kPage].references, ~0u) == 1) store_release(returned_, true);
}

bool Region::has_returned() const { return load_relaxed(returned_); }

bool Region::is_done(size_t page, size_t least) const {
  const Page& p = pages_[page];
  return p.state == kLent && p.carried >= least && load_acquire(file_of(page).references) == 0;
}

void Region::regain(size_t least, const WrittenPages& written) {
  if (!in_service() || !atomic_exchange(returned_, false)) return;
  uint16_t small[kMostPutBack];
  const auto count_written = [&](size_t page) { return written.find(base_ + page * kPage, kPage, small); };
  for (size_t i = 0; i < count();) {
    if (!is_done(i, least)) {
      ++i;
      continue;
    }
    size_t end = i, n = 0;  // a row in which nothing was written to, for one system call
    while (end < count() && is_done(end, least) && (n = count_written(end)) == 0) ++end;
    const size_t mapped = map_most(i, end - i, MAP_SHARED);
    for (size_t k = i; k < i + mapped; ++k) pages_[k].state = kOwned;
    if (n > kMostPutBack) pages_[end].state = kApart;
    else if (n > 0) put_back(end, std::span(small, n));
    i = n > 0 ? end + 1 : std::max(end, i + 1);
  }
}

// What small pages hold survives the change of the mapping beside it.
void Region::put_back(size_t page, std::span<const uint16_t> small) {
  static std::byte kept[kMostPutBack][kSmallPage];  // not on the stack: a signal handler's may be small. Whoever writes here is alone
  const auto at = [&](size_t i) { return base_ + page * kPage + small[i] * kSmallPage; };
  for (size_t i = 0; i < small.size(); ++i) std::memcpy(kept[i], at(i), kSmallPage);
  if (!map(page, 1, MAP_SHARED)) return;
  pages_[page].state = kOwned;
  for (size_t i = 0; i < small.size(); ++i) std::memcpy(at(i), kept[i], kSmallPage);
}

}  // namespace ferry::client
