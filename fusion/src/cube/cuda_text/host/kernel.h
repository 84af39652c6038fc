// Follows the text of a kernel, whose name is KERNEL.
#pragma once
#include <utility>

#include "entry.h"

namespace kiln {
template <class... A, size_t... I> static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel((A)arguments[I]...);
}
template <class... A> static void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>{});
}
template <class... A> static size_t count(void (*)(A...)) { return sizeof...(A); }
} // namespace kiln

size_t kiln_count_arguments() { return kiln::count(KERNEL); }
void kiln_run(void** arguments) { kiln::call(KERNEL, arguments); }
