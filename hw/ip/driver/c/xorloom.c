/* SPDX-License-Identifier: Apache-2.0 */
#include "xorloom.h"

#define FIELD(word, name) (((word) & XORLOOM_##name##_MASK) >> XORLOOM_##name##_SHIFT)
#define STICKY (XORLOOM_STATUS_DONE_MASK | XORLOOM_STATUS_ERROR_MASK | XORLOOM_STATUS_IDLE_MASK)

static uint32_t mapped_read(void *context, uint32_t offset)
{
    return *(volatile uint32_t *)((volatile unsigned char *)context + offset);
}

static void mapped_write(void *context, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)((volatile unsigned char *)context + offset) = value;
}

xorloom_bus xorloom_mapped(volatile void *base)
{
    xorloom_bus bus = {mapped_read, mapped_write, NULL};

    bus.context = (void *)base; /* the accesses above are volatile again */
    return bus;
}

static uint32_t get(const xorloom_device *device, uint32_t offset)
{
    return device->bus.read(device->bus.context, offset);
}

static void put(const xorloom_device *device, uint32_t offset, uint32_t value)
{
    device->bus.write(device->bus.context, offset, value);
}

/* What a word of STATUS means for a wait. */
static int verdict(uint32_t status)
{
    if (status & XORLOOM_STATUS_ERROR_MASK)
        return (int)FIELD(status, STATUS_CAUSE);
    return status & XORLOOM_STATUS_BUSY_MASK ? XORLOOM_RUNNING : XORLOOM_OK;
}

int xorloom_probe(xorloom_device *device, const xorloom_bus *bus)
{
    uint32_t id, config, shape;

    device->bus = *bus;
    id = get(device, XORLOOM_ID);
    if (FIELD(id, ID_MAGIC) != XORLOOM_MAGIC || FIELD(id, ID_VERSION) != XORLOOM_MAP_VERSION)
        return XORLOOM_NO_DEVICE;
    config = get(device, XORLOOM_CONFIG);
    shape = get(device, XORLOOM_SHAPE);
    device->bus_bits = FIELD(config, CONFIG_BUS_BITS);
    device->planes = FIELD(config, CONFIG_PLANES);
    device->address_bits = FIELD(config, CONFIG_ADDRESS_BITS);
    device->reader = FIELD(config, CONFIG_READER);
    device->queue = FIELD(config, CONFIG_QUEUE);
    device->n_out = FIELD(shape, SHAPE_N_OUT);
    device->levels = FIELD(shape, SHAPE_LEVELS);
    device->planar = FIELD(shape, SHAPE_PLANAR);
    device->align_bytes = FIELD(shape, SHAPE_ALIGN_BYTES);
    device->kinds = get(device, XORLOOM_KINDS);
    device->network = get(device, XORLOOM_NETWORK);
    return XORLOOM_OK;
}

int xorloom_start(const xorloom_device *device, uint64_t address, uint32_t length)
{
    uint64_t last = device->address_bits < 64 ? ((uint64_t)1 << device->address_bits) - 1
                                              : UINT64_MAX;

    if (!device->reader || address > last || (length && last - address < length - 1))
        return XORLOOM_RANGE;
    put(device, XORLOOM_ADDRESS_LO, (uint32_t)address);
    if (device->address_bits > 32)
        put(device, XORLOOM_ADDRESS_HI, (uint32_t)(address >> 32));
    put(device, XORLOOM_LENGTH, length);
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_START_MASK);
    return XORLOOM_OK;
}

int xorloom_check(const xorloom_device *device)
{
    return verdict(get(device, XORLOOM_STATUS));
}

int xorloom_wait(const xorloom_device *device, uint32_t polls)
{
    for (; polls; polls--) {
        int result = xorloom_check(device);

        if (result != XORLOOM_RUNNING)
            return result;
    }
    return XORLOOM_TIMEOUT;
}

int xorloom_abort(const xorloom_device *device, uint32_t polls)
{
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_ABORT_MASK);
    for (; polls; polls--) {
        if (!(get(device, XORLOOM_STATUS) & XORLOOM_STATUS_BUSY_MASK)) {
            xorloom_clear(device);
            return XORLOOM_OK;
        }
    }
    return XORLOOM_TIMEOUT;
}

void xorloom_clear(const xorloom_device *device)
{
    put(device, XORLOOM_STATUS, STICKY);
}

void xorloom_interrupts(const xorloom_device *device, uint32_t mask)
{
    put(device, XORLOOM_IRQ_ENABLE, mask);
}

void xorloom_clear_counters(const xorloom_device *device)
{
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_CLEAR_COUNTERS_MASK);
}

void xorloom_read_counters(const xorloom_device *device, xorloom_counters *counters)
{
    counters->cycles = get(device, XORLOOM_CYCLES);
    counters->words = get(device, XORLOOM_WORDS);
    counters->starved = get(device, XORLOOM_STARVED);
    counters->blocked = get(device, XORLOOM_BLOCKED);
    counters->stalled = get(device, XORLOOM_STALLED);
    counters->beats = get(device, XORLOOM_BEATS);
    counters->streams = get(device, XORLOOM_STREAMS);
}

/* Poll until the queue has space or there is an error. */
static int wait_space(const xorloom_device *device, uint32_t polls)
{
    for (; polls; polls--) {
        uint32_t status = get(device, XORLOOM_STATUS);

        if (status & XORLOOM_STATUS_ERROR_MASK)
            return (int)FIELD(status, STATUS_CAUSE);
        if (FIELD(status, STATUS_QUEUE_SPACE))
            return XORLOOM_OK;
    }
    return XORLOOM_TIMEOUT;
}

int xorloom_decode(const xorloom_device *device, const xorloom_descriptor *descriptors,
                   size_t count, uint32_t polls, size_t *started)
{
    int result = XORLOOM_OK;
    size_t n = 0;

    xorloom_clear(device);
    for (; n < count && result == XORLOOM_OK; n += result == XORLOOM_OK) {
        result = wait_space(device, polls);
        if (result == XORLOOM_OK)
            result = xorloom_start(device, descriptors[n].address, descriptors[n].length);
    }
    if (result == XORLOOM_OK)
        result = xorloom_wait(device, polls);
    if (started)
        *started = n;
    if (result == XORLOOM_OK) {
        xorloom_clear(device);
        return result;
    }
    /* A decoder that does not stop is the more serious error. */
    return xorloom_abort(device, polls) == XORLOOM_OK ? result : XORLOOM_TIMEOUT;
}

static uint32_t lanes_of(const xorloom_device *device)
{
    return device->n_out / device->planes;
}

/* Bits that the output has for the code or level of a weight. */
static uint32_t width_of(const xorloom_device *device)
{
    return device->levels ? 8 : device->planes;
}

/* Bits of the codes or levels of a slice. */
static uint32_t code_bits_of(const xorloom_device *device)
{
    return device->levels ? 8 * lanes_of(device) : device->n_out;
}

/* Bytes of an output beat. */
static size_t beat_bytes_of(const xorloom_device *device)
{
    uint32_t lanes = lanes_of(device);

    if (device->planar)
        return (code_bits_of(device) + lanes + 7) / 8;
    return (size_t)(lanes + 7) / 8 * (width_of(device) + 1);
}

static uint32_t bits_at(const uint8_t *bytes, size_t at, uint32_t count)
{
    uint32_t value = 0;
    uint32_t k;

    for (k = 0; k < count; k++, at++)
        value |= (uint32_t)(bytes[at / 8] >> (at % 8) & 1) << k;
    return value;
}

size_t xorloom_stored_bytes(const xorloom_device *device, size_t weights)
{
    size_t lanes = lanes_of(device);
    size_t rest = weights % lanes;
    size_t bytes = weights / lanes * beat_bytes_of(device);

    if (!rest)
        return bytes;
    return bytes + (device->planar ? beat_bytes_of(device)
                                   : (rest + 7) / 8 * (width_of(device) + 1));
}

int xorloom_weight(const xorloom_device *device, const uint8_t *stored, size_t weight,
                   int32_t *code)
{
    uint32_t lanes = lanes_of(device), width = width_of(device);
    uint32_t lane = (uint32_t)(weight % lanes), value;
    const uint8_t *beat = stored + weight / lanes * beat_bytes_of(device);
    size_t at = (size_t)lane * width, mask = (size_t)code_bits_of(device) + lane;

    if (!device->planar) {
        beat += (size_t)lane / 8 * (width + 1);
        at = lane % 8 * width;
        mask = 8 * width + lane % 8;
    }
    value = bits_at(beat, at, width);
    *code = device->levels ? (int32_t)(value ^ 128) - 128 : (int32_t)value;
    return (int)bits_at(beat, mask, 1);
}
