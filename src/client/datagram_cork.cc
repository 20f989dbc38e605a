#include "client/datagram_cork.h"

#include <cerrno>
#include <utility>

#include "client/socket.h"

namespace ferry::client {

long DatagramCork::add(const SendRequest& request, size_t most) {
  Guard guard(mutex_);
  const bool first = !parcel_;
  if (first) {
    Parcel& fresh = parcel_.emplace();
    if (request.to != nullptr) fresh.to = *request.to;
    if (request.source != nullptr) fresh.source = *request.source;
    fresh.tos = request.tos;
    fresh.ttl = request.ttl;
  }
  IovCursor data(request.data, request.file);
  const size_t before = parcel_->bytes.size(), length = data.left();
  if (length > most - before) {
    parcel_.reset();
    return -EMSGSIZE;
  }
  parcel_->bytes.resize(before + length);
  const size_t copied = data.copy_out(parcel_->bytes.data() + before, length);
  if (copied < length && !data.is_file()) {
    parcel_.reset();
    return -EFAULT;
  }
  if (copied == 0 && data.is_file() && first) parcel_.reset();  // an empty datagram would be one
  else parcel_->bytes.resize(before + copied);
  return static_cast<long>(copied);
}

bool DatagramCork::is_empty() {
  Guard guard(mutex_);
  return !parcel_;
}

std::optional<DatagramCork::Parcel> DatagramCork::take() {
  Guard guard(mutex_);
  return std::exchange(parcel_, std::nullopt);
}

}  // namespace ferry::client
