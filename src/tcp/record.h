// What has to be kept of a connection so that it can go on in another process: a fixed head and a list of descriptors, without
// pointers, with a version. Everything else (round-trip time, congestion window, scoreboard) is found anew.
//
//   +--------+--------------------------+---------------------------+
//   | Record | send queue: RecordRange… | out of order: RecordRange…|
//   +--------+--------------------------+---------------------------+
//
// Written by Connection::save(), read by Connection::restore(), which believes nothing that does not add up.
#pragma once

#include <cstdint>

namespace ferry::tcp {

struct RecordRange {
  uint64_t offset;   // of buf::IoDesc
  uint32_t length;
  uint32_t region;
  uint32_t start;    // sequence number of the first byte
  uint32_t reserved;
};
static_assert(sizeof(RecordRange) == 24);

struct Record {
  static constexpr uint32_t kMagic = 0x4d434350;
  static constexpr uint16_t kVersion = 1;
  enum Flag : uint32_t {
    kTimestamps = 1, kSack = 2, kScaling = 4, kFinQueued = 8, kFinSent = 16, kOwnerGone = 32, kPassive = 64, kReadShut = 128,
    kUrgentOut = 256, kUrgentIn = 512, kPeerFinKnown = 1024, kFinReceived = 2048, kNoDelay = 4096, kCork = 8192,
    kKeepAlive = 16384,
  };

  uint32_t magic;
  uint16_t version;
  uint8_t state;           // tcp::State
  uint8_t congestion;      // cc::Algorithm
  uint32_t total_size;     // bytes, ranges included
  uint32_t flags;          // Flag
  uint8_t local_address[16], remote_address[16];
  uint16_t local_port, remote_port;
  uint32_t iss, irs, snd_una, snd_nxt, snd_wnd, max_snd_wnd, snd_wl1, snd_wl2, snd_up;
  uint32_t rcv_nxt, rcv_adv, rcv_up, peer_fin, unread;
  uint32_t snd_buf, rcv_buf, max_gso;
  uint32_t timestamp_offset, ts_recent;
  uint32_t send_ranges, receive_ranges;
  uint16_t link_mss, peer_mss;
  uint8_t snd_wscale, rcv_wscale, keep_count, syn_count;
  uint16_t keep_idle_s, keep_interval_s, max_segment;
  int16_t linger2_s;
  uint32_t user_timeout_ms, receive_buffer_option, send_buffer_option, window_clamp, not_sent_low_water;
  uint32_t urgent_byte;
  uint32_t reserved[2];
  int64_t ts_recent_at_ns;
  uint64_t urgent_mark, bytes_acked, bytes_received;
};
static_assert(sizeof(Record) == 216 && alignof(Record) == 8);

}  // namespace ferry::tcp
