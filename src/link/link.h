// What every link is to ferryd: frames in, packets out, a descriptor to wait on. User level only; the kernel placement has
// its own glue. Single-threaded: one engine owns a link.
#pragma once

#include <cstdint>
#include <string>

#include "buf/packet.h"
#include "wire/address.h"

namespace ferry::link {

struct Capabilities {
  wire::MacAddress mac;        // the address Ferry uses on this link
  uint32_t mtu = 1500;         // largest IP packet on the wire, bytes
  uint32_t max_gso = 0;        // largest frame payload for segmentation by the link, 0: none
  bool checksum_tx = false;    // the link finishes transport checksums
  bool checksum_rx = false;    // frames may arrive with checksum_valid / needs_checksum
};

struct Counters {
  uint64_t rx_frames = 0, rx_bytes = 0, rx_dropped = 0, rx_errors = 0;
  uint64_t tx_frames = 0, tx_bytes = 0, tx_dropped = 0, tx_errors = 0;
};

// Where received frames go.
class FrameSink {
 public:
  virtual void on_frame(const buf::Frame& frame) = 0;

 protected:
  ~FrameSink() = default;
};

class Link {
 public:
  virtual ~Link() = default;

  virtual const Capabilities& capabilities() const = 0;
  // Sends one packet, gathering its payload through `memory`. Returns Errc::again when the queue is full (nothing was sent;
  // wait for `wants_write`), Errc::no_buffers / malformed when it can never be sent (counted, dropped).
  // May stage: what was sent is on its way only after flush().
  virtual Status send(const buf::Packet& packet, const buf::Memory& memory) = 0;
  virtual void flush() = 0;
  // Passes up to `budget` received frames to `sink`, without waiting. Returns how many.
  virtual uint32_t receive(FrameSink& sink, uint32_t budget) = 0;
  // Descriptor that polls readable when receive() has something; -1 for links that have none (memory).
  virtual int poll_fd() const = 0;
  // True while a send was refused for a full queue: poll for POLLOUT too.
  virtual bool wants_write() const { return false; }
  // "packet:veth0", for logs.
  virtual const std::string& name() const = 0;
  virtual const Counters& counters() const = 0;
};

}  // namespace ferry::link
