// stack::Host for a stack in ferryd: owners are numbers of the socket table, payload goes to clients' memory, packets to the links.
// Nothing here calls the stack: sockets are marked and run at the end of the turn.
#pragma once

#include <memory>
#include <vector>

#include "link/link.h"
#include "server/early_placement.h"
#include "server/sockets.h"
#include "stack/stack.h"

namespace ferry::server {

// Sees every frame, when somebody captures. Costs one test of a pointer otherwise.
class FrameTap {
 public:
  virtual void on_received(stack::LinkIndex link, const buf::Frame& frame) = 0;
  virtual void on_sent(stack::LinkIndex link, const buf::Packet& packet, const buf::Memory& memory) = 0;

 protected:
  ~FrameTap() = default;
};

// Owners that are no sockets: pings of the ferry command.
class EchoOwners {
 public:
  virtual void on_echo_reply(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) = 0;
  virtual void on_echo_error(stack::Owner owner, Errc error) = 0;

 protected:
  ~EchoOwners() = default;
};

class Host final : public stack::Host {
 public:
  // Owners with this bit belong to EchoOwners.
  static constexpr stack::Owner kEchoOwner = stack::Owner{1} << 63;

  Host(Context& context, Sockets& sockets) : ctx_(context), sockets_(sockets), early_(context) {}
  EarlyPlacement& early() { return early_; }
  void set_links(std::vector<link::Link*> links) { links_ = std::move(links); }
  void set_tap(FrameTap* tap) { tap_ = tap; }
  void set_echo_owners(EchoOwners* owners) { echo_ = owners; }

  ByteSpan read(const buf::IoDesc& d) const override { return ctx_.memory.read(d); }
  MutableByteSpan write(const buf::IoDesc& d) override { return ctx_.memory.write(d); }
  Status transmit(stack::LinkIndex link, const buf::Packet& packet) override;
  Result<buf::IoDesc> place(stack::Owner owner, ByteSpan payload) override;
  void discard(stack::Owner owner, const buf::IoDesc& d) override;
  void deliver(stack::Owner owner, const buf::IoDesc& d) override;
  Status deliver_datagram(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) override;
  Status deliver_message(stack::Owner owner, const stack::MessageInfo& info, ByteSpan payload) override;
  void deliver_icmp_error(stack::Owner owner, const stack::IcmpError& error) override;
  void on_completed(stack::Owner owner, uint32_t bytes) override;
  void on_events(stack::Owner owner, uint32_t events) override;
  stack::Owner on_incoming(stack::Owner listener, stack::SocketId child, const stack::Endpoint& local,
                           const stack::Endpoint& remote) override;
  void on_acceptable(stack::Owner listener) override;
  void on_loop_back(stack::LinkIndex link, const buf::Packet& packet) override;
  void on_address(stack::LinkIndex link, bool usable, const wire::MacAddress& other) override;

  // Of the address of a link: asked for on the link, ours, or held by another station (`holder`).
  enum class AddressState : uint8_t { probing, usable, taken };
  AddressState address_state() const { return address_state_; }
  const wire::MacAddress& holder() const { return holder_; }

 private:
  Context& ctx_;
  Sockets& sockets_;
  EarlyPlacement early_;
  std::vector<link::Link*> links_;
  FrameTap* tap_ = nullptr;
  EchoOwners* echo_ = nullptr;
  AddressState address_state_ = AddressState::probing;
  wire::MacAddress holder_;
};

}  // namespace ferry::server
