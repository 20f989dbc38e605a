// Field by field; see recording_format.h.
#include "stack/recording_format.h"

namespace ferry::stack {
namespace {

void put(RecordWriter& out, const wire::MacAddress& m) {
  for (uint8_t octet : m.octets) out.u8(octet);
}
wire::MacAddress get_mac(RecordReader& in) {
  wire::MacAddress m;
  for (uint8_t& octet : m.octets) octet = in.u8();
  return m;
}
void put(RecordWriter& out, const wire::Ipv4Prefix& p) {
  out.u32(p.address.value);
  out.u8(p.length);
}
wire::Ipv4Prefix get_prefix(RecordReader& in) {
  wire::Ipv4Prefix p;
  p.address.value = in.u32();
  p.length = in.u8();
  return p;
}

}  // namespace

void put(RecordWriter& out, const Config& c) {
  out.u64(c.seed);
  out.u32(c.max_sockets);
  out.u32(c.max_orphans);
  out.u16(c.ephemeral_first);
  out.u16(c.ephemeral_last);
  out.u32(c.max_backlog);
  out.u32(c.max_time_wait);
  out.u32(c.loopback_bytes);
}
Config get_config(RecordReader& in) {
  Config c;
  c.seed = in.u64();
  c.max_sockets = in.u32();
  c.max_orphans = in.u32();
  c.ephemeral_first = in.u16();
  c.ephemeral_last = in.u16();
  c.max_backlog = in.u32();
  c.max_time_wait = in.u32();
  c.loopback_bytes = in.u32();
  return c;
}

void put(RecordWriter& out, const buf::Offload& o) {
  out.u8(static_cast<uint8_t>(o.needs_checksum | o.checksum_valid << 1 | o.ecn << 2));
  out.u16(o.checksum_start);
  out.u16(o.checksum_offset);
  out.u8(static_cast<uint8_t>(o.gso_type));
  out.u16(o.gso_size);
}
buf::Offload get_offload(RecordReader& in) {
  buf::Offload o;
  const uint8_t flags = in.u8();
  o.needs_checksum = (flags & 1) != 0;
  o.checksum_valid = (flags & 2) != 0;
  o.ecn = (flags & 4) != 0;
  o.checksum_start = in.u16();
  o.checksum_offset = in.u16();
  o.gso_type = static_cast<buf::GsoType>(in.u8());
  o.gso_size = in.u16();
  return o;
}

void put(RecordWriter& out, const buf::IoDesc& d) {
  out.u64(d.offset);
  out.u32(d.length);
  out.u32(d.region);
}
buf::IoDesc get_desc(RecordReader& in) {
  buf::IoDesc d;
  d.offset = in.u64();
  d.length = in.u32();
  d.region = in.u32();
  return d;
}

void put(RecordWriter& out, const Call& c) {
  out.u8(static_cast<uint8_t>(c.op));
  out.u8(static_cast<uint8_t>(c.type));
  out.u8(static_cast<uint8_t>(c.option));
  out.u32(c.flags);
  out.u64(c.socket);
  out.u64(c.owner);
  out.u64(static_cast<uint64_t>(c.number));
  out.endpoint(c.local);
  out.endpoint(c.remote);
  out.endpoint(c.info.remote);
  out.endpoint(c.info.local);
  out.u8(c.info.tos);
  out.u8(c.info.ttl);
  out.u8(c.info.tos_set);
  out.u32(c.info.link);
  put(out, c.data);
}
Call get_call(RecordReader& in) {
  Call c;
  c.op = static_cast<CallOp>(in.u8());
  c.type = static_cast<SocketType>(in.u8());
  c.option = static_cast<Option>(in.u8());
  c.flags = in.u32();
  c.socket = in.u64();
  c.owner = in.u64();
  c.number = static_cast<int64_t>(in.u64());
  c.local = in.any_endpoint();
  c.remote = in.any_endpoint();
  c.info.remote = in.any_endpoint();
  c.info.local = in.any_endpoint();
  c.info.tos = in.u8();
  c.info.ttl = in.u8();
  c.info.tos_set = in.u8() != 0;
  c.info.link = in.u32();
  c.data = get_desc(in);
  return c;
}

void put(RecordWriter& out, const InterfaceConfig& i) {
  put(out, i.mac);
  put(out, i.prefix);
  out.u32(i.mtu);
  out.u32(i.max_gso);
  out.u8(static_cast<uint8_t>(i.checksum_tx | i.loopback << 1 | i.probe << 2));
}
InterfaceConfig get_interface(RecordReader& in) {
  InterfaceConfig i;
  i.mac = get_mac(in);
  i.prefix = get_prefix(in);
  i.mtu = in.u32();
  i.max_gso = in.u32();
  const uint8_t flags = in.u8();
  i.checksum_tx = (flags & 1) != 0;
  i.loopback = (flags & 2) != 0;
  i.probe = (flags & 4) != 0;
  return i;
}

void put(RecordWriter& out, const Route& r) {
  put(out, r.destination);
  out.u32(r.gateway.value);
  out.u32(r.link);
}
Route get_route(RecordReader& in) {
  Route r;
  r.destination = get_prefix(in);
  r.gateway.value = in.u32();
  r.link = in.u32();
  return r;
}

}  // namespace ferry::stack
