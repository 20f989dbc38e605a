// Packets between the stack and a link: an outgoing Packet is headers by value plus payload by reference, up to 64 KiB, or more where
// the link takes it, with segmentation left to the link (GSO); an incoming Frame is bytes plus what the link knows of them (GRO).
//
// Lifetimes: everything a Packet or Frame refers to is valid until the call it was passed to returns. A link that keeps a
// packet longer copies it. Offload fields have the meaning of struct virtio_net_hdr (virtio 1.2, section 5.1.6).
#pragma once

#include <array>
#include <cstdint>

#include "buf/io_desc.h"

namespace ferry::buf {

enum class GsoType : uint8_t { none, tcp_v4, tcp_v6, udp_l4 };

// Largest IP packet, and with an Ethernet header the largest frame, that crosses a link interface.
inline constexpr uint32_t kMaxIpPacket = 65535;
// The same for what is cut into segments before it reaches a wire (Linux: GSO_MAX_SIZE, "BIG TCP"). Beyond kMaxIpPacket its header says
// that the total length is 0.
inline constexpr uint32_t kMaxSuperPacket = 8 * 65535;

struct Offload {
  bool needs_checksum = false;  // out: link must finish the checksum; in: checksum is partial but trusted (same host)
  bool checksum_valid = false;  // in only: the link verified the transport checksum
  uint16_t checksum_start = 0;  // offset in the frame where summing starts
  uint16_t checksum_offset = 0; // offset from checksum_start where the result goes
  GsoType gso_type = GsoType::none;
  uint16_t gso_size = 0;        // payload bytes per segment on the wire; 0: not segmented
  bool ecn = false;             // the segments carry CWR (virtio VIRTIO_NET_HDR_GSO_ECN)

  // An IPv4 packet that is still to be cut into segments: may be as long as kMaxSuperPacket.
  bool uncut_v4() const { return gso_type == GsoType::tcp_v4; }
};

struct Packet {
  static constexpr size_t kMaxHeaderBytes = 160;  // Ethernet 14 + IP 60 + TCP 60, rounded up
  static constexpr size_t kMaxPayloadParts = 17;  // as many as the kernel's MAX_SKB_FRAGS

  std::array<std::byte, kMaxHeaderBytes> headers;
  uint16_t header_length = 0;
  uint16_t part_count = 0;
  uint32_t payload_length = 0;                    // sum of parts, plus tail.size()
  std::array<IoDesc, kMaxPayloadParts> parts;     // client memory, in order
  ByteSpan tail;                                  // then bytes in server memory (an ICMP answer, a fragment)
  Offload offload;

  // Declared so that the arrays are not cleared for every packet.
  Packet() {}  // NOLINT

  ByteSpan header_bytes() const { return ByteSpan(headers.data(), header_length); }
  uint32_t frame_length() const { return header_length + payload_length; }
  // Room for n more header bytes at the end; the caller has checked n against kMaxHeaderBytes.
  MutableByteSpan append_header(size_t n) {
    MutableByteSpan s(headers.data() + header_length, n);
    header_length = static_cast<uint16_t>(header_length + n);
    return s;
  }
  // Adds payload by reference, merging adjoining parts. False: no room for another part; nothing changed.
  bool append_part(const IoDesc& d) {
    if (part_count > 0 && parts[part_count - 1].adjoins(d)) {
      parts[part_count - 1].length += d.length;
    } else {
      if (part_count == kMaxPayloadParts) return false;
      parts[part_count++] = d;
    }
    payload_length += d.length;
    return true;
  }
};

// A frame from a link, starting at the link-layer header. With early demultiplexing the payload of its transport was received elsewhere,
// into memory of the payload's owner, which may change it at any time: it is copied or passed on, never parsed.
struct Frame {
  ByteSpan bytes;           // all of the frame, or all that is in front of `detached`
  Offload offload;
  ByteSpan detached = {};   // the rest of the frame
  size_t size() const { return bytes.size() + detached.size(); }
};

}  // namespace ferry::buf
