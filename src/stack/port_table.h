// Who holds which local port of one protocol, and who may share one: the bind buckets of Linux (ip(7), socket(7): SO_REUSEADDR,
// SO_REUSEPORT), and the choice of ephemeral ports (RFC 6056 section 3.3.3, double-hash).
//
// Owns: the buckets. Does not own: the bindings (each is part of a socket or of a TIME_WAIT record).
#pragma once

#include <cstdint>

#include "base/list.h"
#include "base/result.h"
#include "base/rng.h"
#include "wire/address.h"

namespace ferry::stack {

struct PortBucket;
struct HolderTag;
struct ReceiverTag;

// One holder of a local port. While it holds one, what it shares by is changed by PortTable only, which counts.
struct Binding : ListNode<HolderTag>, ListNode<ReceiverTag> {
  PortBucket* bucket = nullptr;
  wire::IpAddress bound_address;  // unspecified: all of ours
  uint32_t uid = 0;               // user who opened the socket: SO_REUSEPORT shares within one user
  bool reuse_address = false, reuse_port = false;
  bool listening = false;
  bool in_time_wait = false;
  bool automatic = false;         // by connect(): held until the connection ends, shared with other such holders
  bool bound() const { return bucket != nullptr; }
};

struct PortBucket {
  uint16_t port = 0;
  uint32_t uid = 0;                      // of the first holder
  uint32_t chosen = 0;                   // holders that named the port or asked bind() for one: not automatic
  uint32_t not_by_address = 0;           // holders that nobody can join by SO_REUSEADDR
  uint32_t not_by_port = 0;              // holders that a socket of `uid` cannot join by SO_REUSEPORT
  PortBucket* chain = nullptr;
  List<Binding, HolderTag> holders;
  List<Binding, ReceiverTag> receivers;  // those that take what belongs to no flow: listeners, unconnected datagram sockets
};

class PortTable {
 public:
  PortTable(uint16_t ephemeral_first, uint16_t ephemeral_last) : first_(ephemeral_first), last_(ephemeral_last) {}
  ~PortTable();
  PortTable(const PortTable&) = delete;
  PortTable& operator=(const PortTable&) = delete;

  // nullptr: nobody holds the port.
  PortBucket* find(uint16_t port) const;
  // Binds to a port that the caller named. Errc::address_in_use, no_memory.
  Status bind(Binding& binding, uint16_t port);
  // Binds to a free ephemeral port, starting the search at a place that `start` decides. Returns the port.
  // Errc::address_in_use when all are taken (as bind(2)), no_memory.
  Result<uint16_t> bind_ephemeral(Binding& binding, uint32_t start);
  // For connect: calls is_free(port) for ephemeral ports that no bind() holds, from `start` on, until it says true; then
  // holds that port automatically. Errc::address_not_available when there is none, no_memory.
  template <typename IsFree>
  Result<uint16_t> bind_automatic(Binding& binding, uint32_t start, IsFree&& is_free) {
    const uint32_t count = ephemeral_count();
    for (uint32_t i = 0; i < count; ++i) {
      const uint16_t port = static_cast<uint16_t>(first_ + (start + i) % count);
      const PortBucket* bucket = find(port);
      if ((bucket != nullptr && bucket->chosen > 0) || !is_free(port)) continue;
      binding.automatic = true;
      FERRY_TRY(join(binding, port));
      return port;
    }
    return Errc::address_not_available;
  }
  // Holds the port without asking who else does: children of listeners, TIME_WAITs, restored sockets. Errc::no_memory.
  Status join(Binding& binding, uint16_t port);
  // Lets go of the port; a binding that holds none is left alone.
  void release(Binding& binding);
  // Whether `binding`, which holds its port, could still be bound there: listen() asks again (Linux does too).
  bool conflicts(const Binding& binding) const;
  void set_reuse_address(Binding& binding, bool on) { change(binding, binding.reuse_address, on); }
  void set_reuse_port(Binding& binding, bool on) { change(binding, binding.reuse_port, on); }
  void set_listening(Binding& binding, bool on) { change(binding, binding.listening, on); }
  // Begins or ends taking what belongs to no flow. The binding holds a port.
  void add_receiver(Binding& binding) { binding.bucket->receivers.push_back(binding); }
  void remove_receiver(Binding& binding);

 private:
  static constexpr uint32_t kChains = 1024;
  uint32_t ephemeral_count() const { return uint32_t{last_} - first_ + 1; }
  bool conflicts(const PortBucket& bucket, const Binding& binding, bool named) const;
  static bool shares_by_address(const Binding& holder) { return holder.reuse_address && !holder.listening; }
  static bool shares_by_port(const Binding& holder, uint32_t uid) {
    return holder.reuse_port && (holder.in_time_wait || holder.uid == uid);
  }
  static bool all_share(const PortBucket& bucket, const Binding& binding, bool named);
  static void count(PortBucket& bucket, const Binding& holder, uint32_t one);
  static void change(Binding& binding, bool& flag, bool value);
  Result<PortBucket*> obtain(uint16_t port);

  uint16_t first_, last_;
  PortBucket* chains_[kChains] = {};
};

}  // namespace ferry::stack
