// The part of a record that is the same for every socket with a port; see record.h.
#pragma once

#include "stack/port_server.h"
#include "stack/record.h"

namespace ferry::stack {

struct BindingFields {
  wire::IpAddress address;
  uint32_t uid = 0;
  bool reuse_address = false, reuse_port = false, bound = false, automatic = false;
};

void write_binding(RecordWriter& out, const Binding& b);
BindingFields read_binding(RecordReader& in);
void apply_binding(const BindingFields& from, Binding& to);

void write_common(RecordWriter& out, const PortSocket& socket);
// Everything but the number, which the caller registers, and whether it held a port (the result), which the caller takes.
bool read_common(RecordReader& in, PortSocket& socket, SocketId& id);

}  // namespace ferry::stack
