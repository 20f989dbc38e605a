// A capture filter in the language of pcap-filter(7), compiled by libpcap for Ethernet frames.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "link/outcome.h"

namespace ferry::link {

class CaptureFilter {
 public:
  // Fails with libpcap's words for an expression that does not compile. An empty expression matches everything.
  static Outcome<CaptureFilter> compile(const std::string& expression);
  CaptureFilter();  // matches everything
  ~CaptureFilter();
  CaptureFilter(CaptureFilter&&) noexcept;
  CaptureFilter& operator=(CaptureFilter&&) noexcept;

  // `head` is the beginning of a frame of `frame_length` bytes.
  bool matches(ByteSpan head, uint32_t frame_length) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace ferry::link
