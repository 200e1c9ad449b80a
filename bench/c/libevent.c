/* The ring and the echo server over libevent, with the method of one's choice. */
#include "echo.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring.h"

const char *libevent_version(void)
{
    return event_get_version();
}

/* A base that uses `method` and no other; NULL if it is not built in. */
struct event_base *libevent_base(const char *method)
{
    struct event_config *config = event_config_new();
    const char **methods = event_get_supported_methods();
    for (; *methods; methods++)
        if (strcmp(*methods, method) != 0)
            event_config_avoid_method(config, *methods);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct channel {
    struct libevent_ring *owner;
    int index;
    struct event *event;
};

struct libevent_ring {
    struct ring *ring;
    struct event_base *base;
    struct channel channels[];
};

static void on_read(evutil_socket_t fd, short what, void *argument)
{
    struct channel *channel = argument;
    (void)fd, (void)what;
    ring_callback(channel->owner->ring, channel->index);
}

void *libevent_ring_new(struct ring *ring, const char *method)
{
    struct event_base *base = libevent_base(method);
    if (!base)
        return NULL;
    struct libevent_ring *loop =
        malloc(sizeof *loop + ring->channels * sizeof(struct channel));
    loop->ring = ring;
    loop->base = base;
    for (int i = 0; i < ring->channels; i++) {
        struct channel *channel = &loop->channels[i];
        channel->owner = loop;
        channel->index = i;
        channel->event =
            event_new(base, ring->reads[i], EV_READ | EV_PERSIST, on_read, channel);
        event_add(channel->event, NULL);
    }
    return loop;
}

void libevent_ring_run(void *state, struct ring *ring)
{
    struct libevent_ring *loop = state;
    while (!ring_is_done(ring))
        event_base_loop(loop->base, EVLOOP_ONCE);
}

void libevent_ring_free(void *state)
{
    struct libevent_ring *loop = state;
    for (int i = 0; i < loop->ring->channels; i++)
        event_free(loop->channels[i].event);
    event_base_free(loop->base);
    free(loop);
}

static void on_message(evutil_socket_t fd, short what, void *argument)
{
    struct event *event = *(struct event **)argument;
    (void)what;
    if (!echo_serve(fd)) {
        event_free(event);
        free(argument);
        evutil_closesocket(fd);
    }
}

static void on_connection(evutil_socket_t listener, short what, void *base)
{
    (void)what;
    for (int fd; (fd = echo_accept(listener)) >= 0;) {
        struct event **event = malloc(sizeof *event);
        *event = event_new(base, fd, EV_READ | EV_PERSIST, on_message, event);
        event_add(*event, NULL);
    }
}

int libevent_echo(int listener, const char *method)
{
    struct event_base *base = libevent_base(method);
    if (!base)
        return -1;
    event_add(event_new(base, listener, EV_READ | EV_PERSIST, on_connection, base), NULL);
    return event_base_dispatch(base);
}

struct libevent_timers {
    struct event_base *base;
    size_t fired, room;
    struct event **timers;
};

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct libevent_timers *state = argument;
    (void)fd, (void)what;
    state->fired++;
}

void *libevent_timers_new(void)
{
    struct libevent_timers *state = calloc(1, sizeof *state);
    state->base = libevent_base("poll");
    return state;
}

void libevent_timers_make(void *argument, const double *seconds, size_t count)
{
    struct libevent_timers *state = argument;
    if (state->room < count) {
        state->timers = realloc(state->timers, count * sizeof *state->timers);
        for (; state->room < count; state->room++)
            state->timers[state->room] = evtimer_new(state->base, on_timer, state);
    }
    for (size_t i = 0; i < count; i++) {
        struct timeval delay = {(time_t)seconds[i],
                                (suseconds_t)((seconds[i] - (time_t)seconds[i]) * 1e6)};
        evtimer_add(state->timers[i], &delay);
    }
}

void libevent_timers_cancel(void *argument, const size_t *order, size_t count)
{
    struct libevent_timers *state = argument;
    for (size_t i = 0; i < count; i++)
        evtimer_del(state->timers[order[i]]);
}

size_t libevent_timers_fire(void *argument)
{
    struct libevent_timers *state = argument;
    state->fired = 0;
    event_base_loop(state->base, EVLOOP_NONBLOCK);
    return state->fired;
}

void libevent_timers_free(void *argument)
{
    struct libevent_timers *state = argument;
    for (size_t i = 0; i < state->room; i++)
        event_free(state->timers[i]);
    free(state->timers);
    event_base_free(state->base);
    free(state);
}
