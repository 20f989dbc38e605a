// Walks through a scatter list of the program's, copying from or to it in pieces. The memory may not be there: copies end at the piece
// that is not (client/guarded_copy.h). The list itself is. Or through a part of a file, as far as it is in the page cache, or what a pipe
// holds: a reader holds a lock, and does not wait for a disk or a writer.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "client/guarded_copy.h"

namespace ferry::client {

// A part of a regular file, for sendfile(2), or the next bytes of a pipe, for splice(2).
struct FileBytes {
  static constexpr off_t kPipe = -1;
  int fd = -1;
  off_t offset = 0;  // kPipe: it has none
  size_t count = 0;  // bytes
};

class IovCursor {
 public:
  // Counts at most kMaxTransfer bytes, as read(2) and write(2) do.
  static constexpr size_t kMaxTransfer = 0x7ffff000;

  explicit IovCursor(std::span<const iovec> list) : list_(list) {
    for (const iovec& v : list) left_ += v.iov_len < kMaxTransfer - left_ ? v.iov_len : kMaxTransfer - left_;
  }

  // What a send sends: of a file, if there is one. To be copied from only.
  IovCursor(std::span<const iovec> list, const FileBytes* file) : IovCursor(file != nullptr ? IovCursor(*file) : IovCursor(list)) {}
  explicit IovCursor(const FileBytes& file) : file_(file), left_(file.count < kMaxTransfer ? file.count : kMaxTransfer) {}

  size_t left() const { return left_; }  // bytes not yet walked over
  bool is_file() const { return file_.fd >= 0; }

  // Copies the next n bytes of the list to `to`; n <= left(). Returns how many: fewer when the next piece is not there. `copy`: guarded_copy or
  // guarded_stream, for memory.
  [[nodiscard]] size_t copy_out(std::byte* to, size_t n, bool (*copy)(void*, const void*, size_t) = guarded_copy) {
    if (is_file()) return read_out(to, n);
    return walk(n, [&to, copy](std::byte* at, size_t part) {
      const bool good = copy(to, at, part);
      to += part;
      return good;
    });
  }
  // Copies n bytes at `from` to the list; n <= left(). As copy_out.
  [[nodiscard]] size_t copy_in(const std::byte* from, size_t n) {
    return walk(n, [&from](std::byte* at, size_t part) {
      const bool good = guarded_copy(at, from, part);
      from += part;
      return good;
    });
  }
  // The next bytes that are in one piece of the list; left() > 0. Of a file: nothing, it is nowhere.
  std::span<const std::byte> piece() {
    if (is_file()) return {};
    while (list_[index_].iov_len == offset_) ++index_, offset_ = 0;
    const iovec& v = list_[index_];
    const size_t n = v.iov_len - offset_ < left_ ? v.iov_len - offset_ : left_;
    return {static_cast<const std::byte*>(v.iov_base) + offset_, n};
  }
  // Length of the whole of that piece, bytes.
  size_t piece_length() const { return is_file() ? 0 : list_[index_].iov_len; }
  void skip(size_t n) {
    walk(n, [](std::byte*, size_t) { return true; });
  }
  // Writes what is left as a list of its own, at most `capacity` entries; returns how many were written.
  size_t rest(iovec* out, size_t capacity) const {
    size_t n = 0, bytes = left_, offset = offset_;
    for (size_t i = index_; i < list_.size() && n < capacity && bytes > 0; ++i, offset = 0) {
      const size_t part = list_[i].iov_len - offset < bytes ? list_[i].iov_len - offset : bytes;
      if (part == 0) continue;
      out[n++] = {static_cast<char*>(list_[i].iov_base) + offset, part};
      bytes -= part;
    }
    return n;
  }

 private:
  size_t read_out(std::byte* to, size_t n);
  long read_some(std::byte* to, size_t n);

  template <typename F>
  size_t walk(size_t n, F&& f) {
    size_t done = 0;
    while (done < n) {
      const iovec& v = list_[index_];
      const size_t part = v.iov_len - offset_ < n - done ? v.iov_len - offset_ : n - done;
      if (part > 0 && !f(static_cast<std::byte*>(v.iov_base) + offset_, part)) break;
      done += part;
      offset_ += part;
      if (offset_ == v.iov_len) {
        ++index_;
        offset_ = 0;
      }
    }
    left_ -= done;
    return done;
  }

  std::span<const iovec> list_;
  FileBytes file_;
  size_t index_ = 0, offset_ = 0, left_ = 0;
};

}  // namespace ferry::client
