// The program around one kernel.
//
//   stdin   for each launch: Request, the buffers' regions (size, alignment offset, bytes), the arguments (region, offset)
//   stdout  'r' as soon as it runs; for each launch 'k' and the regions' bytes, or 'e' and a message, which ends it
//
// Each region lies between poisoned bytes, shared memory before some, and AddressSanitizer checks every access.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <csignal>
#include <sanitizer/asan_interface.h>
#include <unistd.h>

#include "entry.h"
#include "schedule.h"

extern "C" const char* __asan_default_options() { return "detect_leaks=0:symbolize=0:print_legend=0:detect_stack_use_after_return=0:quarantine_size_mb=1"; }

namespace kiln {
constexpr size_t PAGE = 512, GUARD_BYTES = 64 * 1024, SHARED_LIMIT = 48 * 1024;

struct Request {
    unsigned cube_count[3], cube_dim[3], shared_bytes, seconds;
    uint64_t seed, slack; // bytes behind a region that may be read
    unsigned regions, arguments;
};

// Memory that a launch may touch. Buffers that overlap share one.
struct Region {
    uint64_t bytes, misalignment; // from a multiple of PAGE, as on the device
    unsigned char *data, *base;
    std::vector<unsigned char> before, first; // its content before the launch, and after the first run
};

static std::vector<Region> regions;
static std::vector<void*> arguments;
} // namespace kiln

alignas(512) unsigned char dynamic_shared_mem[kiln::SHARED_LIMIT + kiln::GUARD_BYTES];

namespace kiln {
static void describe_unit(char* text, size_t bytes) {
    uint3 unit = current ? current->position : uint3{};
    snprintf(text, bytes, "unit (%u, %u, %u) of cube (%u, %u, %u)", unit.x, unit.y, unit.z, cube.x, cube.y, cube.z);
}

[[noreturn]] static void fail(const char* format, ...) {
    va_list values;
    va_start(values, format);
    fputc('e', stdout);
    vprintf(format, values);
    fflush(stdout);
    _exit(0);
}

static void on_signal(int number) {
    char unit[96];
    describe_unit(unit, sizeof unit);
    fail(number == SIGALRM ? "the kernel did not end in time; it is at %s" : "integer division by zero by %s", unit);
}
} // namespace kiln

// AddressSanitizer calls this for its first finding. One end of the range that is nearest to the address names it.
extern "C" void __asan_on_error() {
    using namespace kiln;
    auto address = (unsigned char*)__asan_get_report_address();
    const char* access = __asan_get_report_access_type() ? "write" : "read";
    size_t bytes = __asan_get_report_access_size();
    char unit[96];
    describe_unit(unit, sizeof unit);
    if (bytes == 0) fail("access far from every buffer (%s) by %s", __asan_get_report_description(), unit);
    if (address >= dynamic_shared_mem && address < dynamic_shared_mem + sizeof dynamic_shared_mem)
        fail("%s of %zu bytes at %td of shared memory, out of bounds, by %s", access, bytes, address - dynamic_shared_mem, unit);
    for (size_t i = 0; i < regions.size(); i++) {
        Region& region = regions[i];
        if (address >= region.data - GUARD_BYTES && address < region.data + region.bytes + GUARD_BYTES)
            fail("%s of %zu bytes at %td of buffer region %zu, which has %lu, by %s", access, bytes, address - region.data, i,
                 (unsigned long)region.bytes, unit);
    }
    fail("%s of %zu bytes at %p, in no buffer (%s), by %s", access, bytes, address, __asan_get_report_description(), unit);
}

namespace kiln {
static void read_bytes(void* to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) fail("the request ends early");
}

template <class T> static T read_value() {
    T value;
    read_bytes(&value, sizeof value);
    return value;
}

static Region read_region(size_t slack) {
    Region region = {read_value<uint64_t>(), read_value<uint64_t>(), nullptr, nullptr, {}, {}};
    size_t body = region.misalignment + region.bytes + slack;
    size_t whole = (2 * GUARD_BYTES + body + PAGE - 1) / PAGE * PAGE;
    auto base = (unsigned char*)aligned_alloc(PAGE, whole);
    if (!base) fail("no memory for a buffer of %zu bytes", body);
    region.base = base;
    region.data = base + GUARD_BYTES + region.misalignment;
    read_bytes(region.data, region.bytes);
    region.before.assign(region.data, region.data + region.bytes);
    __asan_poison_memory_region(base, region.data - base);
    memset(region.data + region.bytes, 0, slack);
    unsigned char* end = region.data + region.bytes + slack;
    __asan_poison_memory_region(end, base + whole - end);
    return region;
}

// The life of a unit: once through the kernel for each cube.
static void run_unit() {
    for (;;) {
        kiln_run(arguments.data());
        stop(State::Ended, 0);
    }
}

static void read_launch(const Request& request) {
    for (Region& region : regions) free(region.base);
    regions.clear();
    arguments.clear();
    cube_count = {request.cube_count[0], request.cube_count[1], request.cube_count[2]};
    cube_dim = {request.cube_dim[0], request.cube_dim[1], request.cube_dim[2]};
    for (unsigned i = 0; i < request.regions; i++) regions.push_back(read_region(request.slack));
    for (unsigned i = 0; i < request.arguments; i++) {
        auto region = read_value<uint64_t>(), offset = read_value<uint64_t>();
        arguments.push_back(regions.at(region).data + offset);
    }
    if (arguments.size() != kiln_count_arguments())
        fail("the kernel takes %zu arguments, the launch gives %zu", kiln_count_arguments(), arguments.size());
}

// Keeps the regions after the first run, and compares them with that after a later one.
static void compare_regions(Order order, size_t slack) {
    for (size_t i = 0; i < regions.size(); i++) {
        Region& region = regions[i];
        for (size_t k = 0; k < slack; k++)
            if (region.data[region.bytes + k]) fail("write %zu bytes behind buffer region %zu", k, i);
        if (order == Order::Forward) region.first.assign(region.data, region.data + region.bytes);
        for (size_t k = 0; k < region.bytes; k++)
            if (region.first[k] != region.data[k])
                fail("the result depends on the order of the units, so a barrier is missing: byte %zu of buffer region %zu is %d "
                     "with units forward and %d with them %s", k, i, region.first[k], region.data[k],
                     order == Order::Backward ? "backward" : "shuffled");
    }
}

static void run_launch(const Request& request) {
    size_t guard = sizeof dynamic_shared_mem - request.shared_bytes;
    for (Order order : {Order::Forward, Order::Backward, Order::Shuffled}) {
        for (Region& region : regions) memcpy(region.data, region.before.data(), region.bytes);
        run_cubes(order, request.seed, [&] {
            __asan_unpoison_memory_region(dynamic_shared_mem, sizeof dynamic_shared_mem);
            memset(dynamic_shared_mem, 0xFF, SHARED_LIMIT);
            __asan_poison_memory_region(dynamic_shared_mem + request.shared_bytes, guard);
        });
        current = nullptr;
        compare_regions(order, request.slack);
    }
}
} // namespace kiln

int main() {
    using namespace kiln;
    signal(SIGALRM, on_signal);
    signal(SIGFPE, on_signal);
    fputc('r', stdout);
    fflush(stdout);
    Request request;
    while (fread(&request, sizeof request, 1, stdin) == 1) {
        read_launch(request);
        if (units.empty()) create_units(cube_dim.x * cube_dim.y * cube_dim.z, run_unit);
        alarm(request.seconds);
        run_launch(request);
        alarm(0);
        fputc('k', stdout);
        for (Region& region : regions) fwrite(region.data, 1, region.bytes, stdout);
        fflush(stdout);
    }
}
