// What every link is to ferryd: frames in, packets out, a descriptor to wait on. User level only; the kernel placement has
// its own glue. Single-threaded: one engine owns a link.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "buf/packet.h"
#include "wire/address.h"

namespace ferry::link {

struct Capabilities {
  wire::MacAddress mac;        // the address Ferry uses on this link
  uint32_t mtu = 1500;         // largest IP packet on the wire, bytes
  uint32_t max_gso = 0;        // largest frame payload for segmentation by the link, 0: none
  bool checksum_tx = false;    // the link finishes transport checksums
  bool checksum_rx = false;    // frames may arrive with checksum_valid / needs_checksum
  // For people and statistics: whether the interface itself segments and sums, or the kernel does so in software.
  bool hardware_segmentation = false;
  bool hardware_checksum = false;
};

struct Counters {
  uint64_t rx_frames = 0, rx_bytes = 0, rx_dropped = 0, rx_errors = 0;
  uint64_t tx_frames = 0, tx_bytes = 0, tx_dropped = 0, tx_errors = 0;
};

// Where received frames go.
class FrameSink {
 public:
  virtual void on_frame(const buf::Frame& frame) = 0;
  // As on_frame(), but the frame's bytes stay until on_batch_end(), which comes before receive() returns: frames can be joined.
  virtual void on_lasting_frame(const buf::Frame& frame) { on_frame(frame); }
  virtual void on_batch_end() {}

 protected:
  ~FrameSink() = default;
};

// Early demultiplexing: where the payload of a large frame is received to, decided from its headers, so that it is written once,
// into memory of the client that owns the connection. Links that cannot do it never ask. See set_placer().
class PayloadPlacer {
 public:
  // Where the bytes of a frame from `header_length` on go: first `first`, then `second` (a pool that wraps round).
  struct Place {
    uint32_t header_length = 0;  // bytes of the frame that stay with the link, in Frame::bytes; at most the bytes shown
    MutableByteSpan first, second;
  };
  // `head` has the first bytes of a frame (its headers and some payload) and the offload fields; `frame_length` is its whole
  // length. Fills `place` with room for exactly frame_length - header_length bytes and returns true, or returns false: the frame
  // comes whole, by FrameSink::on_frame. The bytes may be written at any time until on_placed().
  virtual bool place(const buf::Frame& head, uint32_t frame_length, Place& place) = 0;
  // The payload is where place() said; `headers.bytes` are the header_length bytes before it.
  virtual void on_placed(const buf::Frame& headers, uint32_t frame_length) = 0;
  // The frame was lost after place() said where it goes; nothing was received.
  virtual void on_abandoned() = 0;

 protected:
  ~PayloadPlacer() = default;
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

  // Tells the time to links that need it (delay, rate limits, timestamps); the same for a whole turn of the engine's loop.
  // Frames that became due are sent, or are there for receive().
  virtual void advance(Instant) {}
  // When advance() should be called again at the latest; never() for links without a clock.
  virtual Instant next_deadline() const { return Instant::never(); }
  // Asks `placer` first about frames of more than a few kilobytes (nullptr: never ask). False: this link cannot; off by default.
  virtual bool set_placer(PayloadPlacer*) { return false; }
};

}  // namespace ferry::link
