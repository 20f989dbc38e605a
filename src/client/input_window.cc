#include "client/input_window.h"

#include <algorithm>
#include <cstring>

#include "base/atomics.h"
#include "client/guarded_copy.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr size_t kPage = InputWindow::kPage;
constexpr uint32_t kMostDoubts = 64;

size_t in_page(const std::byte* p) { return reinterpret_cast<uintptr_t>(p) % kPage; }
bool is_past(uint64_t position, uint64_t end) { return static_cast<int64_t>(position - end) >= 0; }

}  // namespace

void InputWindow::start_at(const abi::SocketShared& s) {
  lent_ = {};
  lent_.first = lent_.next = load_relaxed(s.input_produced);
}

InputWindow::Piece* InputWindow::piece_at(uint64_t position) {
  for (uint16_t i = lent_.first; i != lent_.next; ++i)
    if (lent_[i].contains(position)) return &lent_[i];
  return nullptr;
}

// That are lent and not read.
size_t InputWindow::pages() const {
  size_t sum = 0;
  for (uint16_t i = lent_.first; i != lent_.next; ++i) {
    const Piece& p = lent_.pieces[i % abi::kInputPieces];
    sum += p.memory.count - p.returned;
  }
  return sum;
}

void InputWindow::lend(const Channel& channel, uint32_t engine, abi::SocketShared& s, uint64_t position, std::span<const std::byte> to, size_t least) {
  Guard guard(mutex_);
  if (lent_.withdrawn) return;
  const std::byte *at = to.data(), *end = at + to.size();
  if (!empty()) {
    const Piece& last = lent_[static_cast<uint16_t>(lent_.next - 1)];
    if (!is_past(position, last.end)) {  // there is some ahead: go on behind it
      const uint64_t ahead = last.end - position;
      if ((reinterpret_cast<uintptr_t>(at) - (position - last.begin)) % kPage != 0) {
        lent_.withdrawn = true;
        return store_release(s.input_withdrawn, lent_.next);
      }
      if (ahead >= to.size()) return;
      at += ahead;
      position += ahead;
    }
  }
  while (at < end && static_cast<uint16_t>(lent_.next - lent_.first) < abi::kInputPieces && pages() < kPages) {
    const size_t here = std::min(kPage - in_page(at), static_cast<size_t>(end - at));
    size_t n = here;
    if (here >= least) {
      if (!push(channel, engine, s, position, at, static_cast<size_t>(end - at), least)) return;
      n = lent_[static_cast<uint16_t>(lent_.next - 1)].end - position;
    }
    at += n;
    position += n;
  }
}

// One piece for the next `n` bytes, or for as many as there is memory.
bool InputWindow::push(const Channel& channel, uint32_t engine, abi::SocketShared& s, uint64_t position, const std::byte* to, size_t n, size_t least) {
  const size_t x = in_page(to), all = x + n;
  const size_t wanted = all / kPage + (all < kPage || all % kPage >= least ? 1 : 0);
  if (!regions::can_swap(to)) return false;
  const regions::InputPages memory = regions::lend(channel, engine, to, std::min({wanted, kPiecePages, kPages - pages()}));
  if (memory.at == nullptr) return false;
  const size_t length = std::min(n, memory.count * kPage - x);
  lent_[lent_.next] = {memory, position - x, position + length, 0};
  s.input[lent_.next % abi::kInputPieces] = {position, memory.offset + x, static_cast<uint32_t>(length), memory.region, 0};
  store_release(s.input_produced, ++lent_.next);
  return true;
}

void InputWindow::withdraw(abi::SocketShared& s) {
  Guard guard(mutex_);
  if (empty() || lent_.withdrawn) return;
  lent_.withdrawn = true;
  store_release(s.input_withdrawn, lent_.next);
}

const std::byte* InputWindow::find(const abi::Descriptor& d, uint32_t used, uint64_t position, uint32_t& n) {
  Guard guard(mutex_);
  const Piece* p = piece_at(position);
  if (p == nullptr || d.region != p->memory.region || d.offset + used != p->memory.offset + (position - p->begin)) return nullptr;
  if (p->returned * kPage > position - p->begin) return nullptr;
  n = static_cast<uint32_t>(std::min<uint64_t>(n, p->end - position));
  return p->at(position);
}

// The first `pages` pages are read.
void InputWindow::Piece::give_back(size_t pages) {
  if (pages <= returned) return;
  regions::take_back(memory.at + returned * kPage, pages - returned);
  returned = pages;
}

// Gives back pages in front of the position.
void InputWindow::pass_pages(uint64_t position) {
  if (holder_ != nullptr && !is_past(held_from_, position)) position = held_from_;
  for (uint16_t i = lent_.first; i != lent_.next; ++i) {
    Piece& p = lent_[i];
    if (p.contains(position)) p.give_back((position - p.begin) / kPage);
    else if (is_past(position, p.end)) p.give_back(p.memory.count);
  }
}

// Pieces before number `done` are the server's no more.
void InputWindow::Lent::finish(uint32_t done) {
  if (static_cast<uint16_t>(done - first) > static_cast<uint16_t>(next - first)) return;  // makes no sense
  for (; first != static_cast<uint16_t>(done); ++first) (*this)[first].give_back((*this)[first].memory.count);
  if (first == next) withdrawn = false;
}

void InputWindow::pass(const abi::SocketShared& s, uint64_t position) {
  Guard guard(mutex_);
  pass_pages(position);
  if (holder_ == nullptr) lent_.finish(load_acquire(s.input_done));
}

InputWindow::Lent InputWindow::take_over() {
  Guard guard(mutex_);
  const Lent lent = lent_;
  lent_ = {};
  holder_ = nullptr;
  return lent;
}

bool InputWindow::pass(Lent& lent, uint32_t done, bool gone) {
  lent.finish(gone ? lent.next : done);
  return lent.first == lent.next;
}

// Whole pages come at once: worth a try. They do not after all: twice as many have to come before the next.
void InputWindow::learn(size_t taken, size_t missed) {
  Guard guard(mutex_);
  if (taken >= kPage && !eager_ && ++big_takes_ >= doubts_) {
    eager_ = true;
    missed_ = 0;
  }
  missed_ += missed;
  if (!eager_ || missed_ < kPages * kPage) return;
  eager_ = false;
  big_takes_ = 0;
  doubts_ = std::min(doubts_ * 2, kMostDoubts);
}

uint32_t HeldInput::add(InputWindow& window, const std::byte* from, uint32_t n, uint64_t position, std::span<const std::byte> to, size_t least,
                        bool patient, bool& copied) {
  Guard guard(window.mutex_);
  copied = false;
  if (window_ != nullptr && (window_ != &window || to_ + length_ != to.data() || position_ + length_ != position)) return 0;
  if (window_ == nullptr && window.holder_ != nullptr) return 0;
  const InputWindow::Piece* p = window.piece_at(position);
  if (p == nullptr || p->returned * kPage > position - p->begin) return 0;
  std::byte* place = p->at(position);
  if (window_ != nullptr && window.piece_at(position_) != p) return 0;
  copied = place != from;
  if (window_ == nullptr) {
    const size_t reach = std::min(kPage - in_page(to.data()), to.size());
    if (in_page(place) != in_page(to.data()) || reach < least || (copied && !patient) || !regions::can_swap(to.data())) return 0;
    window_ = &window;
    to_ = const_cast<std::byte*>(to.data());
    position_ = position;
    window.holder_ = this;
    window.held_from_ = position;
  }
  n = static_cast<uint32_t>(std::min<uint64_t>({n, to.size(), p->end - position}));
  if (copied) std::memcpy(place, from, n);
  length_ += n;
  return n;
}

HeldInput::Settled HeldInput::settle(size_t least) {
  Settled done;
  if (window_ == nullptr) return done;
  Guard guard(window_->mutex_);
  while (length_ > 0) {
    window_->pass_pages(position_);
    InputWindow::Piece* p = window_->piece_at(position_);
    const size_t n = p != nullptr ? settle_next(*p, least, done) : 0;
    if (n == 0) break;
    to_ += n;
    position_ += n;
    length_ -= n;
    window_->held_from_ = position_;
  }
  done.missing = length_;
  if (done.pages > 0) window_->doubts_ = 1, window_->missed_ = 0;
  window_->holder_ = nullptr;
  window_->pass_pages(position_ + length_);
  window_ = nullptr;
  length_ = 0;
  return done;
}

// Whole pages in a row, or what is in one page. Returns how many bytes have come to the program; 0: its memory is not there.
size_t HeldInput::settle_next(InputWindow::Piece& piece, size_t least, Settled& done) {
  std::byte* from = piece.at(position_);
  const size_t x = in_page(to_), page = static_cast<size_t>(from - piece.memory.at) / kPage;
  const auto exchange = [&](size_t pages, size_t bytes) {
    if (!regions::swap(to_ - x, from - x, pages)) return false;
    piece.returned = page + pages;
    done.swapped += bytes;
    done.pages += pages;
    return true;
  };
  if (const size_t whole = length_ / kPage; x == 0 && whole > 0 && exchange(whole, whole * kPage)) return whole * kPage;
  const size_t n = std::min(kPage - x, length_);
  // Reverse copyout: what the program has around it moves into the page. Only where no other thread can write there meanwhile, and the server
  // will not go on to fill the rest of the page.
  const bool is_last = x + n == kPage || position_ + n == piece.end;
  if (n < kPage && n >= least && is_last && is_only_writer() && regions::can_swap(to_) && guarded_copy(from - x, to_ - x, x) &&
      guarded_copy(from + n, to_ + n, kPage - x - n) && exchange(1, n))
    return n;
  if (!guarded_copy(to_, from, n)) return 0;
  done.copied += n;
  return n;
}

void HeldInput::let_go() {
  if (window_ == nullptr) return;
  Guard guard(window_->mutex_);
  window_->holder_ = nullptr;
  window_ = nullptr;
}

}  // namespace ferry::client
