// Which descriptor numbers of this process are Ferry's: number → OpenFile. A program's calls on any other number go to libc.
//
// Lookups are lock-free and take no lock-prefixed instruction for numbers that are not ours. Changes are made by whoever
// opens, dups or closes the number, which the kernel already orders: a number is removed *before* it is closed and
// installed *after* it was opened. A number that was freed unseen (a raw system call, libc's own close) is found out by
// `forget_stale` whenever the kernel hands the number out again, and by the server's hang-up on the old socket.
#pragma once

#include <atomic>
#include <cstddef>

#include "preload/open_file.h"

namespace ferry::preload {

class FdTable {
 public:
  static constexpr int kChunkBits = 10;
  static constexpr int kChunk = 1 << kChunkBits;
  static constexpr int kMaxFds = 1 << 20;  // as Linux's default nr_open; higher numbers stay with the kernel

  constexpr FdTable() = default;

  // The file behind `fd` with a reference for the caller, or null.
  FileRef<> get(int fd) const {
    std::atomic<OpenFile*>* slot = find(fd);
    if (slot == nullptr) return {};
    OpenFile* file = slot->load(std::memory_order_acquire);
    if (file == nullptr) return {};
    return get_slow(slot, file);
  }
  // Whether `fd` names that file, without taking a reference: for callers that must not be the ones who let go of its last.
  bool names(int fd, const OpenFile* file) const {
    std::atomic<OpenFile*>* slot = find(fd);
    return slot != nullptr && slot->load(std::memory_order_relaxed) == file;
  }
  // Whether `fd` is ours, without taking a reference.
  bool contains(int fd) const {
    std::atomic<OpenFile*>* slot = find(fd);
    return slot != nullptr && slot->load(std::memory_order_relaxed) != nullptr;
  }

  // Names `file` by `fd`, replacing (and releasing) what was there. False: number out of range or no memory.
  bool install(int fd, OpenFile* file);
  // Forgets the number; returns what it named with a reference for the caller. Null if it was not ours.
  FileRef<> remove(int fd);
  // The kernel has just handed out `fd`: whatever the table says about it is stale.
  void forget_stale(int fd) {
    if (contains(fd)) [[unlikely]] remove_stale(fd);
  }

  // Calls visit(fd, file) for each number of ours in [first, last], lowest first. `visit` may remove the number.
  template <typename Visit>
  void for_each(unsigned first, unsigned last, Visit visit) const {
    if (last >= kMaxFds) last = kMaxFds - 1;
    for (unsigned fd = first; fd <= last; ++fd) {
      std::atomic<OpenFile*>* chunk = chunks_[fd >> kChunkBits].load(std::memory_order_acquire);
      if (chunk == nullptr) {
        fd |= kChunk - 1;
        continue;
      }
      if (OpenFile* file = chunk[fd & (kChunk - 1)].load(std::memory_order_acquire)) visit(static_cast<int>(fd), file);
    }
  }
  template <typename Visit>
  void for_each(Visit visit) const {
    for_each(0, kMaxFds - 1, visit);
  }

 private:
  std::atomic<OpenFile*>* find(int fd) const {
    if (static_cast<unsigned>(fd) >= kMaxFds) return nullptr;
    std::atomic<OpenFile*>* chunk = chunks_[fd >> kChunkBits].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &chunk[fd & (kChunk - 1)];
  }
  static FileRef<> get_slow(std::atomic<OpenFile*>* slot, OpenFile* file);
  void remove_stale(int fd);
  std::atomic<OpenFile*>* make_chunk(int fd);

  std::atomic<std::atomic<OpenFile*>*> chunks_[kMaxFds >> kChunkBits] = {};
};

FdTable& fd_table();

}  // namespace ferry::preload
