// Input by page swap (docs/architecture.md, "Emulated copy: input by page swap"): memory that this process has lent to the server for the
// input of one stream, and what of it a receive has taken already but not yet brought to the program.
//
//            stream   ----------------------------------------------------------------->
//     lent to the server        |x        page        page    |    page        page    |
//                                ^ begin + x: the program wants the next byte at x of its page; one piece (abi::InputPiece)
//     taken, held                |-----------------|
//
// A receive that may end with whole pages leaves in lent memory what the server has put there, and puts there what came another way. When it
// ends, or the piece does, settle() exchanges pages for the program's, and copies where that does not pay.
//
// The server never writes in front of what it has delivered, so what is taken stays; memory goes back to its region when it has been read
// and, if it was withdrawn, the server is done with it. Only one receive at a time can hold bytes; the others copy.
// One mutex, taken behind rx_lock and in front of the regions'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "client/mutex.h"
#include "client/regions.h"
#include "ipc/abi.h"

namespace ferry::client {

class HeldInput;

class InputWindow {
 public:
  static constexpr size_t kPage = ipc::abi::kHugePageSize;
  static constexpr size_t kPiecePages = 4;  // of one piece at most
  static constexpr size_t kPages = 8;       // that are lent at a time

  // Goes on at the index that the slot has.
  void start_at(const ipc::abi::SocketShared& s);
  bool empty() const { return lent_.first == lent_.next; }

  // Under rx_lock:

  // Lends memory for what is to come from `position` on, to be read to `to`, which is all of one piece of the program's list. Pages into which
  // fewer than `least` bytes would come are left out.
  void lend(const Channel& channel, uint32_t engine, ipc::abi::SocketShared& s, uint64_t position, std::span<const std::byte> to, size_t least);
  // Nothing more is to be put into what is lent.
  void withdraw(ipc::abi::SocketShared& s);
  // Where the bytes of a (copied) descriptor of a region are, given that the next of them to be read is at `used` of it and `position` of the
  // stream; `n` becomes how many are there in a row, at most. nullptr: it names none that are lent.
  const std::byte* find(const ipc::abi::Descriptor& d, uint32_t used, uint64_t position, uint32_t& n);
  // Gives back what the server is done with, or was read up to `position`.
  void pass(const ipc::abi::SocketShared& s, uint64_t position);

  // What is lent, for when the socket is closed and perhaps opened again in its slot; nobody is in the window. Afterwards it is empty.
  struct Lent;
  Lent take_over();
  void take_back(const Lent& lent) { lent_ = lent; }
  // Of a closed socket's: gives back what the server is done with (SocketShared::input_done), all of it if `gone`. True: nothing is left.
  static bool pass(Lent& lent, uint32_t done, bool gone);

  // --- whether a receive that does not wait for whole pages should lend memory ---
  bool is_eager() const { return eager_; }
  // A receive took so much at once, and copied so much of it out of lent memory.
  void learn(size_t taken, size_t missed);

 private:
  friend class HeldInput;
  struct Piece {
    regions::InputPages memory;
    uint64_t begin = 0;    // position of the first byte of `memory`, modulo 2^64
    uint64_t end = 0;      // of what was lent
    size_t returned = 0;   // pages that are here no more
    bool contains(uint64_t position) const { return position - begin < end - begin; }
    std::byte* at(uint64_t position) const { return memory.at + (position - begin); }
    void give_back(size_t pages);
  };

 public:
  struct Lent {
    Piece pieces[ipc::abi::kInputPieces];
    uint16_t first = 0, next = 0;  // free-running
    bool withdrawn = false;        // all of them
    Piece& operator[](uint16_t index) { return pieces[index % ipc::abi::kInputPieces]; }
    void finish(uint32_t done);
  };

 private:
  Piece* piece_at(uint64_t position);
  size_t pages() const;
  bool push(const Channel& channel, uint32_t engine, ipc::abi::SocketShared& s, uint64_t position, const std::byte* to, size_t n, size_t least);
  void pass_pages(uint64_t position);

  Mutex mutex_;
  Lent lent_;
  const HeldInput* holder_ = nullptr;
  uint64_t held_from_ = 0;               // position of what the holder has
  bool eager_ = false;
  uint32_t doubts_ = 1, big_takes_ = 0;  // how many receives of whole pages make it eager, and those seen
  size_t missed_ = 0;                    // bytes copied out of lent memory since pages were last exchanged
};

// What one receive has taken and left in lent memory. Let go without settle(), its bytes are lost, as those of a receive that was cancelled.
class HeldInput {
 public:
  HeldInput() = default;
  ~HeldInput() { let_go(); }
  HeldInput(const HeldInput&) = delete;
  HeldInput& operator=(const HeldInput&) = delete;

  size_t length() const { return length_; }
  // Holds the bytes at `from`, the next of the stream at `position`, at most `n` and as many as one piece has; they are for `to`. `patient`:
  // the receive waits for more. Returns how many; 0: they have to be copied. `copied`: whether they were, to lent memory.
  uint32_t add(InputWindow& window, const std::byte* from, uint32_t n, uint64_t position, std::span<const std::byte> to, size_t least, bool patient,
               bool& copied);

  struct Settled {
    size_t swapped = 0, pages = 0, copied = 0;  // bytes, pages, bytes
    size_t missing = 0;                         // bytes at the end for which the program's memory is not there
  };
  // Brings all of it to the program. May be called without a lock.
  Settled settle(size_t least);

 private:
  void let_go();
  size_t settle_next(InputWindow::Piece& piece, size_t least, Settled& done);

  InputWindow* window_ = nullptr;  // nullptr: nothing is held
  std::byte* to_ = nullptr;
  size_t length_ = 0;
  uint64_t position_ = 0;
};

}  // namespace ferry::client
