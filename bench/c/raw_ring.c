/* The ring by hand: the loops that one writes in C over the system call itself. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include "ring.h"

struct raw_poll {
    struct pollfd *fds;
};

void *raw_poll_new(struct ring *ring)
{
    struct raw_poll *loop = malloc(sizeof *loop);
    loop->fds = calloc(ring->channels, sizeof *loop->fds);
    for (int i = 0; i < ring->channels; i++) {
        loop->fds[i].fd = ring->reads[i];
        loop->fds[i].events = POLLIN;
    }
    return loop;
}

void raw_poll_run(void *state, struct ring *ring)
{
    struct raw_poll *loop = state;
    while (!ring_is_done(ring)) {
        int ready = poll(loop->fds, ring->channels, -1);
        for (int i = 0; ready > 0 && i < ring->channels; i++) {
            if (loop->fds[i].revents) {
                ready--;
                ring_callback(ring, i);
            }
        }
    }
}

void raw_poll_free(void *state)
{
    struct raw_poll *loop = state;
    free(loop->fds);
    free(loop);
}

/* Sets of any length: an fd_set ends at FD_SETSIZE, Linux's select does not. */
struct raw_select {
    int nfds;
    size_t bytes;
    unsigned long *wanted;
    unsigned long *found;
};

enum { BITS = 8 * sizeof(unsigned long) };

void *raw_select_new(struct ring *ring)
{
    struct raw_select *loop = malloc(sizeof *loop);
    loop->nfds = 0;
    for (int i = 0; i < ring->channels; i++)
        if (ring->reads[i] >= loop->nfds)
            loop->nfds = ring->reads[i] + 1;
    size_t words = (loop->nfds + BITS - 1) / BITS;
    loop->bytes = words * sizeof(unsigned long);
    loop->wanted = calloc(words, sizeof(unsigned long));
    loop->found = calloc(words, sizeof(unsigned long));
    for (int i = 0; i < ring->channels; i++)
        loop->wanted[ring->reads[i] / BITS] |= 1UL << (ring->reads[i] % BITS);
    return loop;
}

void raw_select_run(void *state, struct ring *ring)
{
    struct raw_select *loop = state;
    while (!ring_is_done(ring)) {
        memcpy(loop->found, loop->wanted, loop->bytes);
        int ready = select(loop->nfds, (fd_set *)loop->found, NULL, NULL, NULL);
        for (int i = 0; ready > 0 && i < ring->channels; i++) {
            int fd = ring->reads[i];
            if (loop->found[fd / BITS] >> (fd % BITS) & 1) {
                ready--;
                ring_callback(ring, i);
            }
        }
    }
}

void raw_select_free(void *state)
{
    struct raw_select *loop = state;
    free(loop->wanted);
    free(loop->found);
    free(loop);
}

enum { EVENTS = 256 };

struct raw_epoll {
    int fd;
    struct epoll_event events[EVENTS];
};

void *raw_epoll_new(struct ring *ring)
{
    struct raw_epoll *loop = malloc(sizeof *loop);
    loop->fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < ring->channels; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(loop->fd, EPOLL_CTL_ADD, ring->reads[i], &event);
    }
    return loop;
}

void raw_epoll_run(void *state, struct ring *ring)
{
    struct raw_epoll *loop = state;
    while (!ring_is_done(ring)) {
        int ready = epoll_wait(loop->fd, loop->events, EVENTS, -1);
        for (int i = 0; i < ready; i++)
            ring_callback(ring, loop->events[i].data.u32);
    }
}

void raw_epoll_free(void *state)
{
    struct raw_epoll *loop = state;
    close(loop->fd);
    free(loop);
}
