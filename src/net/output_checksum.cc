// Transport checksums in software.
#include "net/output_checksum.h"

#include "wire/checksum.h"

namespace ferry::net {

Status complete_checksum(buf::Packet& packet, const buf::Memory& memory, Counters& counters) {
  buf::Offload& offload = packet.offload;
  if (!offload.needs_checksum) return {};
  const uint32_t field = uint32_t{offload.checksum_start} + offload.checksum_offset;
  if (field + 2 > packet.header_length) return Errc::invalid;
  wire::Checksum sum;
  sum.add(packet.header_bytes().subspan(offload.checksum_start));
  for (uint32_t i = 0; i < packet.part_count; ++i) {
    const ByteSpan bytes = memory.read(packet.parts[i]);
    if (bytes.size() != packet.parts[i].length) return Errc::invalid;
    sum.add(bytes);
  }
  sum.add(packet.tail);
  const uint16_t result = sum.finish();
  store_be16(MutableByteSpan(packet.headers), field, result == 0 ? 0xffff : result);
  offload.needs_checksum = false;
  ++counters.checksums_in_software;
  counters.payload_bytes_summed += packet.payload_length;
  return {};
}

}  // namespace ferry::net
