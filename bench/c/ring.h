/* The ring: what every peer shares, the C ones and the Rust ones. */
#ifndef RING_H
#define RING_H

#include <sys/socket.h>

/* Laid out like `Shared` in src/ring/mod.rs. */
struct ring {
    int channels;
    const int *reads;  /* the descriptors that are watched */
    const int *writes; /* the other side of each */
    long left;         /* bytes still to be written by callbacks */
    long fired;        /* bytes written */
    long count;        /* bytes read */
};

/* What every callback does: reads a byte from channel `i`, and as long as there
 * are writes left, writes one to the next channel. */
static inline void ring_callback(struct ring *ring, int i)
{
    char byte;
    if (recv(ring->reads[i], &byte, 1, 0) != 1)
        return;
    ring->count++;
    if (ring->left > 0) {
        int next = i + 1 == ring->channels ? 0 : i + 1;
        ring->left--;
        ring->fired++;
        send(ring->writes[next], "e", 1, 0);
    }
}

static inline int ring_is_done(const struct ring *ring)
{
    return ring->count == ring->fired;
}

#endif
