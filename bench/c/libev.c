/* The ring and the echo server over libev, with the method of one's choice. */
#include "echo.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring.h"

const char *libev_version(void)
{
    static char version[32];
    snprintf(version, sizeof version, "%d.%d", ev_version_major(), ev_version_minor());
    return version;
}

/* A loop that uses `method` and no other; NULL if it is not built in. */
struct ev_loop *libev_loop(const char *method)
{
    unsigned int backend = 0;
    if (strcmp(method, "select") == 0)
        backend = EVBACKEND_SELECT;
    else if (strcmp(method, "poll") == 0)
        backend = EVBACKEND_POLL;
    else if (strcmp(method, "epoll") == 0)
        backend = EVBACKEND_EPOLL;
    if (!(ev_supported_backends() & backend))
        return NULL;
    return ev_loop_new(backend | EVFLAG_NOENV);
}

struct libev_ring {
    struct ring *ring;
    struct ev_loop *loop;
    struct ev_io watchers[];
};

static void on_read(struct ev_loop *loop, ev_io *watcher, int what)
{
    struct libev_ring *state = ev_userdata(loop);
    (void)what;
    ring_callback(state->ring, (int)(watcher - state->watchers));
}

void *libev_ring_new(struct ring *ring, const char *method)
{
    struct ev_loop *loop = libev_loop(method);
    if (!loop)
        return NULL;
    struct libev_ring *state =
        malloc(sizeof *state + ring->channels * sizeof(struct ev_io));
    state->ring = ring;
    state->loop = loop;
    ev_set_userdata(loop, state);
    for (int i = 0; i < ring->channels; i++) {
        ev_io_init(&state->watchers[i], on_read, ring->reads[i], EV_READ);
        ev_io_start(loop, &state->watchers[i]);
    }
    return state;
}

void libev_ring_run(void *state, struct ring *ring)
{
    struct libev_ring *ours = state;
    while (!ring_is_done(ring))
        ev_run(ours->loop, EVRUN_ONCE);
}

void libev_ring_free(void *state)
{
    struct libev_ring *ours = state;
    ev_loop_destroy(ours->loop);
    free(ours);
}

static void on_message(struct ev_loop *loop, ev_io *watcher, int what)
{
    (void)what;
    if (!echo_serve(watcher->fd)) {
        ev_io_stop(loop, watcher);
        close(watcher->fd);
        free(watcher);
    }
}

static void on_connection(struct ev_loop *loop, ev_io *listener, int what)
{
    (void)what;
    for (int fd; (fd = echo_accept(listener->fd)) >= 0;) {
        ev_io *watcher = malloc(sizeof *watcher);
        ev_io_init(watcher, on_message, fd, EV_READ);
        ev_io_start(loop, watcher);
    }
}

int libev_echo(int listener, const char *method)
{
    struct ev_loop *loop = libev_loop(method);
    if (!loop)
        return -1;
    ev_io watcher;
    ev_io_init(&watcher, on_connection, listener, EV_READ);
    ev_io_start(loop, &watcher);
    return ev_run(loop, 0);
}

struct libev_timers {
    struct ev_loop *loop;
    size_t fired, room;
    ev_timer *timers;
};

static void on_timer(struct ev_loop *loop, ev_timer *timer, int what)
{
    struct libev_timers *state = ev_userdata(loop);
    (void)timer, (void)what;
    state->fired++;
}

void *libev_timers_new(void)
{
    struct libev_timers *state = calloc(1, sizeof *state);
    state->loop = libev_loop("poll");
    ev_set_userdata(state->loop, state);
    return state;
}

void libev_timers_make(void *argument, const double *seconds, size_t count)
{
    struct libev_timers *state = argument;
    if (state->room < count) {
        state->timers = realloc(state->timers, count * sizeof *state->timers);
        state->room = count;
    }
    ev_now_update(state->loop);
    for (size_t i = 0; i < count; i++) {
        ev_timer_init(&state->timers[i], on_timer, seconds[i], 0.);
        ev_timer_start(state->loop, &state->timers[i]);
    }
}

void libev_timers_cancel(void *argument, const size_t *order, size_t count)
{
    struct libev_timers *state = argument;
    for (size_t i = 0; i < count; i++)
        ev_timer_stop(state->loop, &state->timers[order[i]]);
}

size_t libev_timers_fire(void *argument)
{
    struct libev_timers *state = argument;
    state->fired = 0;
    ev_run(state->loop, EVRUN_NOWAIT);
    return state->fired;
}

void libev_timers_free(void *argument)
{
    struct libev_timers *state = argument;
    ev_loop_destroy(state->loop);
    free(state->timers);
    free(state);
}
