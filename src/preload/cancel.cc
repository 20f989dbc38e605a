// Interposes pthread_cancel, for one preparation. Cancellation unwinds through libferry's frames with the program's libgcc_s, while our
// frames' personality routine uses the libgcc that is linked into libferry, whose register table is filled in on its first use only.
#include <pthread.h>
#include <unwind.h>

#include "preload/real.h"

namespace ferry::preload {
namespace {

_Unwind_Reason_Code stop_at_once(_Unwind_Context*, void*) { return _URC_END_OF_STACK; }

}  // namespace

FERRY_EXPORT int pthread_cancel(pthread_t thread) {
  static bool prepared = false;
  if (!__atomic_load_n(&prepared, __ATOMIC_RELAXED)) {
    _Unwind_Backtrace(stop_at_once, nullptr);
    __atomic_store_n(&prepared, true, __ATOMIC_RELAXED);
  }
  return real().pthread_cancel(thread);
}

}  // namespace ferry::preload
