// The hostile client as a program that accepts (ipc/abi.h, offer_of): it has a listener, connects to it, and takes what it is offered properly, not at
// all, more than once, too late, or after it has used it. Or it shares the listener of a program that behaves, and does the same with what that
// one's peers have connected to.
#pragma once

#include <vector>

#include "hostile/passages.h"

namespace ferry::hostile {

class Offers : public Passages {
 public:
  uint64_t taken() const { return taken_; }  // connections that it took as it should
  // `k`: the descriptor of somebody's listener, which is shared from the next life on.
  void share(int k) { shared_ = k; }

 protected:
  using Op = ipc::control::Op;
  using Passages::Passages;

  bool is_sharing() const { return shared_ >= 0; }
  void forget_offers() {
    listener_ = kNone;
    connections_ = 0;
    kept_.clear();
  }

  // `self`: an address of ferryd's own.
  void misuse_offers(uint32_t self) {
    if (listener_ == kNone || one_in(500)) return is_sharing() ? attach() : listen_at(self);
    if (!is_sharing() && connections_ < 100 && one_in(2)) connect_to(self);
    if (one_in(4)) request_on(listener_, Op::accept, below(2));
    if (one_in(8)) ask_for_descriptors();
    if (one_in(20)) kept_.clear();
    auto& listener = map_.socket(listener_);
    const uint32_t consumed = load_acquire(listener.rx_consumed);
    if (consumed == load_acquire(listener.rx_produced)) return;
    const auto slot = static_cast<uint32_t>(listener.rx[consumed % ipc::abi::kRingEntries].offset);
    if (one_in(3) && slot < map_.layout().max_sockets) {
      scribble(&map_.socket(slot), sizeof(ipc::abi::SocketShared), 1 + below(40));
      ring(slot);
    }
    if (!one_in(4) && compare_exchange(listener.rx_consumed, consumed, consumed + 1)) ++taken_;
    if (one_in(40)) atomic_add(listener.rx_consumed, below(40));
    if (one_in(40)) store_release(listener.rx_consumed, static_cast<uint32_t>(number()));
    ring(listener_);
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  bool request_on(uint32_t slot, Op op, uint32_t value, uint32_t address = 0) {
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(op);
    request.slot = slot;
    request.generation = map_.socket(slot).generation;
    request.value = value;
    set_address(request, address, port_);
    return ask_keeping(request);
  }

  bool ask_keeping(ipc::control::Request& request) {
    ipc::DescriptorList fds;
    if (dead_ || !ask(request, fds)) return false;
    for (uint32_t i = 0; i < fds.count && kept_.size() < 300; ++i) kept_.push_back(fds.take(i));
    return true;
  }

  void attach() {
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(Op::attach);
    ipc::DescriptorList fds;
    if (dead_ || !ask(request, fds, &shared_, 1) || last_.slot >= map_.layout().max_sockets) return;
    listener_ = last_.slot;
    ask_for_descriptors();
    request_on(listener_, Op::accept, 0);
  }

  bool open_stream() {
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(Op::open_socket);
    request.value = ipc::abi::kKindTcp;
    return ask_keeping(request) && last_.slot < map_.layout().max_sockets;
  }

  void listen_at(uint32_t self) {
    if (!open_stream()) return;
    const uint32_t slot = last_.slot;
    port_ = static_cast<uint16_t>(20000 + below(20000));
    if (!request_on(slot, Op::bind, 0, self) || !request_on(slot, Op::listen, below(50))) return;
    listener_ = slot;
    ask_for_descriptors();
    request_on(listener_, Op::accept, 0);
  }

  void connect_to(uint32_t self) {
    if (!open_stream()) return;
    ++connections_;
    request_on(last_.slot, Op::connect, 0, self);
  }

  void ask_for_descriptors() {
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(Op::stock);
    request.value = ipc::abi::kKindTcp;
    request.level = static_cast<int32_t>(1 + below(8));
    ask_keeping(request);
  }

  int shared_ = -1;
  uint32_t listener_ = kNone;
  uint32_t connections_ = 0;
  uint16_t port_ = 0;
  uint64_t taken_ = 0;
  std::vector<ipc::OwnedFd> kept_;
};

}  // namespace ferry::hostile
