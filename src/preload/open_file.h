// An open file description as libferry sees it: what several descriptor numbers (dup) share. Three kinds: a Ferry socket
// (socket_file.h), an epoll set (epoll_set.h), and a netlink socket, which is the kernel's and only looked at (netlink.h). Everything
// else is the kernel's alone and has no OpenFile.
//
// Lifetime: counted. Each descriptor number in the table holds one reference, each call in progress another. The memory is
// type-stable: an object whose count reached zero is retired and used again for the same kind, never unmapped, so that a
// reader may try to take a reference on a pointer that has just become stale (fd_table.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "client/mutex.h"

namespace ferry::preload {

class EpollSet;

enum class FileKind : uint8_t { socket, epoll, netlink };

class OpenFile {
 public:
  explicit OpenFile(FileKind kind) : kind_(kind) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  FileKind kind() const { return kind_; }

  // Takes a reference unless the count is zero (the object is retired or being retired).
  bool try_acquire() {
    uint32_t count = references_.load(std::memory_order_relaxed);
    while (count != 0) {
      if (references_.compare_exchange_weak(count, count + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }
  void acquire() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) retire();
  }

  // Epoll sets that have (had) a registration of this file; they are told when its last number is closed.
  void add_watcher(EpollSet* set);
  std::vector<EpollSet*> watchers();

  // How many descriptor numbers of this process name it; kept by the table.
  uint32_t names() const { return names_.load(std::memory_order_relaxed); }
  void add_name() { names_.fetch_add(1, std::memory_order_relaxed); }
  void drop_name() {
    if (names_.fetch_sub(1, std::memory_order_acq_rel) == 1) on_unnamed();
  }

 protected:
  ~OpenFile() = default;
  // A new or reused object comes alive with the creator's one reference.
  void revive() {
    watchers_.clear();
    references_.store(1, std::memory_order_release);
  }
  // The last reference is gone: let go of everything and return to the kind's free list.
  virtual void retire() = 0;

 private:
  // The last descriptor number is gone; calls may still be in progress. As the kernel does, epoll registrations are dropped.
  void on_unnamed();

  std::atomic<uint32_t> references_{0};
  std::atomic<uint32_t> names_{0};
  client::Mutex watchers_mutex_;
  std::vector<EpollSet*> watchers_;
  const FileKind kind_;
};

// A reference held for the time of a call; null when the number is not ours. Movable; releases also when the thread is cancelled.
template <typename T = OpenFile>
class FileRef {
 public:
  FileRef() = default;
  // Adopts one reference.
  explicit FileRef(T* file) : file_(file) {}
  FileRef(FileRef&& other) noexcept : file_(other.file_) { other.file_ = nullptr; }
  FileRef& operator=(FileRef&& other) noexcept {
    if (this != &other) {
      reset();
      file_ = other.file_;
      other.file_ = nullptr;
    }
    return *this;
  }
  FileRef(const FileRef&) = delete;
  FileRef& operator=(const FileRef&) = delete;
  ~FileRef() { reset(); }

  explicit operator bool() const { return file_ != nullptr; }
  T* operator->() const { return file_; }
  T& operator*() const { return *file_; }
  T* get() const { return file_; }
  void reset() {
    if (file_ != nullptr) file_->release();
    file_ = nullptr;
  }
  // Gives the reference away.
  T* take() {
    T* file = file_;
    file_ = nullptr;
    return file;
  }

 private:
  T* file_ = nullptr;
};

}  // namespace ferry::preload
