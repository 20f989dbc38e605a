#include "client/critical.h"

namespace ferry::client {

thread_local constinit CriticalState t_critical [[gnu::tls_model("initial-exec")]];
void (*g_on_critical_leave)() = nullptr;

}  // namespace ferry::client
