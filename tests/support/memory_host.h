// A host of a stack whose regions are arrays, for tests in virtual time. It checks the contract of payload memory byte by byte: output
// is never read after it was completed, input is placed once and then delivered or discarded once.
//
// Owns: the memory and its book-keeping. Does not own: what the world does (hooks); a broken rule becomes a line in faults().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "stack/stack.h"

namespace ferry::support {

class MemoryHost final : public stack::Host {
 public:
  static constexpr buf::RegionId kOutput = 1, kInput = 2;

  // --- hooks; each may be empty ---
  std::function<Status(stack::LinkIndex, const std::vector<std::byte>& frame, const buf::Offload&)> transmit_hook;
  std::function<void(stack::Owner, uint32_t events)> events_hook;
  std::function<stack::Owner(stack::Owner listener, stack::SocketId child, const wire::Endpoint& local,
                             const wire::Endpoint& remote)> incoming_hook;
  std::function<void(stack::Owner listener)> acceptable_hook;
  std::function<Status(stack::Owner, const stack::DatagramInfo&, ByteSpan)> datagram_hook;
  std::function<void(stack::Owner, const stack::IcmpError&)> icmp_hook;
  std::function<Status(stack::Owner, const stack::MessageInfo&, ByteSpan)> message_hook;
  std::function<bool()> refuse_place;  // true: this payload finds no room

  // --- output memory ---
  // Copies `bytes` to where the stack may read them; `owner` will have them completed.
  buf::IoDesc provide(stack::Owner owner, ByteSpan bytes);
  // Takes back what provide() gave last to this owner, because the call that was to use it failed or did not keep it.
  void withdraw(stack::Owner owner);
  // Bytes of the owner that the stack still refers to.
  uint64_t outstanding(stack::Owner owner) const;

  // --- input memory ---
  // Takes up to `limit` bytes that were delivered to the owner.
  std::vector<std::byte> take(stack::Owner owner, size_t limit);
  uint64_t undelivered() const { return placed_; }  // placed, neither delivered nor discarded
  uint64_t unread(stack::Owner owner) const;

  const std::vector<std::string>& faults() const { return faults_; }
  uint64_t total_outstanding() const;
  std::vector<std::byte> gather(const buf::Packet& packet);

  // --- stack::Host ---
  ByteSpan read(const buf::IoDesc& d) const override;
  MutableByteSpan write(const buf::IoDesc& d) override;
  Status transmit(stack::LinkIndex link, const buf::Packet& packet) override;
  Result<buf::IoDesc> place(stack::Owner owner, ByteSpan payload) override;
  void discard(stack::Owner owner, const buf::IoDesc& d) override;
  void deliver(stack::Owner owner, const buf::IoDesc& d) override;
  Status deliver_datagram(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) override;
  void deliver_icmp_error(stack::Owner owner, const stack::IcmpError& error) override;
  Status deliver_message(stack::Owner owner, const stack::MessageInfo& info, ByteSpan payload) override;
  void on_completed(stack::Owner owner, uint32_t bytes) override;
  void on_events(stack::Owner owner, uint32_t events) override;
  stack::Owner on_incoming(stack::Owner listener, stack::SocketId child, const wire::Endpoint& local,
                           const wire::Endpoint& remote) override;
  void on_acceptable(stack::Owner listener) override;

 private:
  enum State : uint8_t { kFree, kLive, kPlaced, kDelivered, kDiscarded };
  struct Region {
    std::vector<std::byte> bytes;
    std::vector<uint8_t> states;
    buf::IoDesc append(buf::RegionId id, ByteSpan data, State state);
    bool has(const buf::IoDesc& d) const { return d.offset + d.length <= bytes.size(); }
    bool all(const buf::IoDesc& d, State state) const;
    void mark(const buf::IoDesc& d, State state);
  };
  void fault(const std::string& text) const;
  Region output_, input_;
  std::map<stack::Owner, std::deque<buf::IoDesc>> pending_;  // output not completed
  std::map<stack::Owner, std::deque<buf::IoDesc>> inbox_;    // input delivered, not taken
  uint64_t placed_ = 0;
  mutable std::vector<std::string> faults_;
};

}  // namespace ferry::support
