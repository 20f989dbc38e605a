// The fields of a recording's entries, written by recording.cc and read by replay.cc; the format is told in recording.h.
#pragma once

#include "stack/record.h"
#include "stack/recording.h"

namespace ferry::stack {

inline constexpr size_t kMaxEntryFields = 256;  // without payload

void put(RecordWriter& out, const Config& c);
void put(RecordWriter& out, const buf::Offload& o);
void put(RecordWriter& out, const buf::IoDesc& d);
void put(RecordWriter& out, const Call& c);
void put(RecordWriter& out, const InterfaceConfig& i);
void put(RecordWriter& out, const Route& r);

// The counterparts. Values that no writer writes make in.ok() false.
Config get_config(RecordReader& in);
buf::Offload get_offload(RecordReader& in);
buf::IoDesc get_desc(RecordReader& in);
Call get_call(RecordReader& in);
InterfaceConfig get_interface(RecordReader& in);
Route get_route(RecordReader& in);

}  // namespace ferry::stack
