// What passing data costs on this machine: copying, mapping, waking. ferryd measures it at start, in less than 200 ms, keeps it beside its
// control socket until the machine is booted again, and tells clients from which size on output is worth referring to, and input worth
// exchanging pages for.
#pragma once

#include <cstdint>
#include <string>

#include "ipc/control.h"

namespace ferry::server {

struct Calibration {
  uint64_t copy_ns = 0;       // memcpy of 1 MiB that is in no cache
  uint64_t protect_ns = 0;    // mprotect of a huge page, both ways
  uint64_t map_ns = 0;        // mapping a huge page of a memfd privately in place, and its next fault; 0: there are no huge pages
  uint64_t look_ns = 0;       // asking /proc/self/pagemap whether 2 MiB have been written to
  uint64_t swap_ns = 0;       // exchanging a huge page of a memfd for another, with its next fault, and getting the old one ready to be filled
  uint64_t wake_ns = 0;       // waking a thread that sleeps in read(2), one way
  uint64_t reference_bytes = 0;  // a result: output that pays for getting a page ready to be referred to
  uint64_t swap_bytes = 0;       // a result: a page into which less is received is copied to; 0: all are
  bool cached = false;        // read, not measured
};

// What reference_bytes is between, whatever was measured.
inline constexpr uint64_t kLeastReference = ipc::control::kLeastReference, kMostReference = 2 << 20;

// The size from which two mappings and looks are cheaper than the copy.
uint64_t reference_bytes_of(const Calibration& c);
// Bytes of a huge page whose copy is dearer than to exchange the page and copy the rest of it the other way.
uint64_t swap_bytes_of(const Calibration& c);
Calibration measure();
// From `path` if it was written since boot, else measured and written there (a file that cannot be written is no error).
Calibration calibrate(const std::string& path);
// The file's text, and back: false if it is not of this boot, or makes no sense.
std::string to_text(const Calibration& c, const std::string& boot);
bool from_text(const std::string& text, const std::string& boot, Calibration& c);

}  // namespace ferry::server
