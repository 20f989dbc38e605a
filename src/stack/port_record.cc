// Writing and reading what all records of sockets have; see port_record.h.
#include "stack/port_record.h"

namespace ferry::stack {

void write_binding(RecordWriter& out, const Binding& b) {
  out.address(b.bound_address);
  out.u32(b.uid);
  out.u8(static_cast<uint8_t>(b.reuse_address | b.reuse_port << 1 | b.bound() << 2 | b.automatic << 3));
}

BindingFields read_binding(RecordReader& in) {
  BindingFields b;
  b.address = in.address();
  b.uid = in.u32();
  const uint8_t flags = in.u8();
  b.reuse_address = (flags & 1) != 0;
  b.reuse_port = (flags & 2) != 0;
  b.bound = (flags & 4) != 0;
  b.automatic = (flags & 8) != 0;
  return b;
}

void apply_binding(const BindingFields& from, Binding& to) {
  to.bound_address = from.address;
  to.uid = from.uid;
  to.reuse_address = from.reuse_address;
  to.reuse_port = from.reuse_port;
  to.automatic = from.automatic;
}

void write_common(RecordWriter& out, const PortSocket& s) {
  out.u64(s.id);
  out.u64(s.owner);
  write_binding(out, s);
  out.endpoint(s.local);
  out.endpoint(s.remote);
  out.u8(static_cast<uint8_t>(s.told_closed | s.broadcast << 1 | s.dont_fragment << 2 | s.receive_errors << 3 | s.oob_inline << 4));
  out.u8(s.tos);
  out.u8(s.ttl);
  out.u32(s.receive_buffer);
  out.u32(s.send_buffer);
}

bool read_common(RecordReader& in, PortSocket& s, SocketId& id) {
  id = in.u64();
  s.owner = in.u64();
  const BindingFields b = read_binding(in);
  apply_binding(b, s);
  s.local = in.endpoint();
  s.remote = in.endpoint();
  const uint8_t flags = in.u8();
  s.told_closed = (flags & 1) != 0;
  s.broadcast = (flags & 2) != 0;
  s.dont_fragment = (flags & 4) != 0;
  s.receive_errors = (flags & 8) != 0;
  s.oob_inline = (flags & 16) != 0;
  s.tos = in.u8();
  s.ttl = in.u8();
  s.receive_buffer = in.u32();
  s.send_buffer = in.u32();
  if (!b.bound) s.automatic = false;
  return b.bound && s.local.port != 0;
}

}  // namespace ferry::stack
