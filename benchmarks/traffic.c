/* Traffic through a data plane, as cheaply as it can be made: one thread, one epoll, requests of some bytes over plain sockets.
 *
 *   traffic serve ADDRESS PORT                           answers each request, TCP and UDP, until it is killed
 *   traffic ask KIND [-c CLIENTS] [-s SECONDS] [-p MICROSECONDS] [-n REQUESTS] ADDRESS PORT
 *
 * KIND: new       a connection for each request, CLIENTS at a time
 *       kept      requests over CLIENTS connections, one under way on each
 *       udp       the same over CLIENTS UDP sockets; a datagram that is lost is sent again after 200 ms, and is a failure
 *       connect   one connection after the other, nothing sent
 * -p MICROSECONDS pauses each time that clients were served, so that a long run leaves the machine to others.
 * ask prints one JSON object: done, failures, seconds, and p50, p99 and the longest of all requests (connect: of connect(2)) in
 * microseconds. Who has waited for a second when it ends has failed. SIGTERM ends it early, once REQUESTS are done. Why a request failed
 * it says on stderr, of the first ten.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, SAMPLES = 1 << 20, RESEND_US = 200000, PATIENCE_US = 1000000 };
static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
static struct sockaddr_in there;
static volatile sig_atomic_t over;
static float took[SAMPLES], longest;
static long done, failures, sampled, pause_us, least;
struct client { int fd; double since; int connected; };

static void die(const char *why) { fprintf(stderr, "traffic: %s: %s\n", why, strerror(errno)); exit(2); }
static void stop(int unused) { (void)unused, over = 1; }

static double now(void) { /* microseconds */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int goes_on(double until) { return now() < until && !(over && done >= least); }

static int opened(int kind, int flags) {
    int fd = socket(AF_INET, kind | flags, 0), one = 1;
    if (fd < 0) die("socket");
    if (kind == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void watch(int poll, int fd, unsigned events, void *about, int how) {
    struct epoll_event event = {.events = events, .data.ptr = about};
    if (epoll_ctl(poll, how, fd, &event)) die("epoll_ctl");
}

/* Answers one datagram from the address that it was sent to. */
static int echo(int udp) {
    char got[2048], about[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct sockaddr_in from;
    struct iovec bytes = {.iov_base = got, .iov_len = sizeof got};
    struct msghdr it = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &bytes, .msg_iovlen = 1,
                        .msg_control = about, .msg_controllen = sizeof about};
    ssize_t size = recvmsg(udp, &it, 0);
    if (size <= 0) return 0;
    struct in_pktinfo *asked = (struct in_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&it));
    asked->ipi_ifindex = 0, bytes.iov_len = size;
    sendmsg(udp, &it, 0);
    return 1;
}

static void serve(void) {
    static struct client one[65536];
    char got[2048];
    int poll = epoll_create1(0), tcp = opened(SOCK_STREAM, SOCK_NONBLOCK), udp = opened(SOCK_DGRAM, SOCK_NONBLOCK), yes = 1;
    struct client accepting = {.fd = tcp}, receiving = {.fd = udp};
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(tcp, (struct sockaddr *)&there, sizeof there) || listen(tcp, 4096)) die("listen");
    setsockopt(udp, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
    if (bind(udp, (struct sockaddr *)&there, sizeof there)) die("bind");
    watch(poll, tcp, EPOLLIN, &accepting, EPOLL_CTL_ADD), watch(poll, udp, EPOLLIN, &receiving, EPOLL_CTL_ADD);
    puts("serving"), fflush(stdout);
    for (struct epoll_event events[256];;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct client *who = events[i].data.ptr;
            if (who == &accepting) {
                for (int fd; (fd = accept4(tcp, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    if (fd >= 65536) { close(fd); continue; }
                    one[fd].fd = fd, watch(poll, fd, EPOLLIN, &one[fd], EPOLL_CTL_ADD);
                }
            } else if (who == &receiving) {
                while (echo(udp)) {}
            } else if (recv(who->fd, got, sizeof got, 0) <= 0 || send(who->fd, answer, sizeof answer - 1, 0) < 0) {
                close(who->fd);
            }
        }
    }
}

static void fail(struct client *who, const char *why) {
    if (++failures <= 10) fprintf(stderr, "traffic: %s, %.3f s after it began\n", why, (now() - who->since) / 1e6);
}

static void finish(struct client *who, int good) {
    float spent = now() - who->since;
    if (good) done++;
    else fail(who, errno ? strerror(errno) : "ended before an answer");
    if (good && sampled < SAMPLES) took[sampled++] = spent;
    if (good && spent > longest) longest = spent;
}

static void begin(int poll, struct client *who, int kind) { /* a socket of its own, connecting */
    who->fd = opened(kind, SOCK_NONBLOCK), who->since = now(), who->connected = kind == SOCK_DGRAM;
    if (connect(who->fd, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS) errno = 0;
    watch(poll, who->fd, who->connected ? EPOLLIN : EPOLLOUT, who, EPOLL_CTL_ADD);
    if (who->connected) send(who->fd, request, sizeof request - 1, 0);
}

static void again(int poll, struct client *who, int kind, int fresh) {
    if (fresh) {
        struct linger abort_ = {.l_onoff = 1}; /* no TIME_WAIT: a run would use up the ports */
        setsockopt(who->fd, SOL_SOCKET, SO_LINGER, &abort_, sizeof abort_);
        close(who->fd), begin(poll, who, kind);
    } else {
        who->since = now();
        if (send(who->fd, request, sizeof request - 1, 0) < 0) close(who->fd), begin(poll, who, kind);
    }
}

static void ask(int kind, int fresh, int clients, double until) {
    static struct client all[MOST];
    struct epoll_event events[MOST];
    int poll = epoll_create1(0);
    for (int i = 0; i < clients; i++) begin(poll, &all[i], kind);
    while (goes_on(until)) {
        int count = epoll_wait(poll, events, MOST, 20);
        for (int i = 0; i < count; i++) {
            struct client *who = events[i].data.ptr;
            char got[2048];
            if (!who->connected && !(events[i].events & (EPOLLERR | EPOLLHUP))) {
                who->connected = 1, watch(poll, who->fd, EPOLLIN, who, EPOLL_CTL_MOD);
                send(who->fd, request, sizeof request - 1, 0);
                continue;
            }
            errno = 0;
            int good = recv(who->fd, got, sizeof got, 0) > 0;
            finish(who, good), again(poll, who, kind, fresh || (!good && kind == SOCK_STREAM));
        }
        for (int i = 0; kind == SOCK_DGRAM && i < clients; i++)
            if (now() - all[i].since > RESEND_US) errno = ETIMEDOUT, finish(&all[i], 0), again(poll, &all[i], kind, 0);
        if (pause_us) usleep(pause_us);
    }
    for (int i = 0; i < clients; i++)
        if (now() - all[i].since > PATIENCE_US) fail(&all[i], all[i].connected ? "no answer" : "no connection");
}

static void connect_only(double until) {
    while (goes_on(until)) {
        struct client who = {.fd = opened(SOCK_STREAM, 0), .since = now()};
        struct linger abort_ = {.l_onoff = 1};
        finish(&who, !connect(who.fd, (struct sockaddr *)&there, sizeof there));
        setsockopt(who.fd, SOL_SOCKET, SO_LINGER, &abort_, sizeof abort_);
        close(who.fd);
        if (pause_us) usleep(pause_us);
    }
}

static int ascending(const void *a, const void *b) { return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b); }

int main(int count, char **words) {
    int clients = 32, asking = count > 2 && !strcmp(words[1], "ask");
    double seconds = 1;
    const char *kind = asking ? words[2] : "";
    int skip = asking ? 2 : 1;
    for (int option; (option = getopt(count - skip, words + skip, "c:s:p:n:")) != -1;)
        if (option == 'c') clients = atoi(optarg);
        else if (option == 's') seconds = atof(optarg);
        else if (option == 'p') pause_us = atol(optarg);
        else if (option == 'n') least = atol(optarg);
        else return 2;
    char **rest = words + skip + optind;
    if (count - skip - optind != 2 || clients < 1 || clients > MOST) return fputs("traffic: see the top of traffic.c\n", stderr), 2;
    there = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(rest[1]))};
    if (inet_pton(AF_INET, rest[0], &there.sin_addr) != 1) return fputs("traffic: addresses are IPv4, in digits\n", stderr), 2;
    signal(SIGPIPE, SIG_IGN);
    if (!asking) serve();
    signal(SIGTERM, stop);
    double began = now(), until = began + seconds * 1e6;
    if (!strcmp(kind, "connect")) connect_only(until);
    else ask(strcmp(kind, "udp") ? SOCK_STREAM : SOCK_DGRAM, !strcmp(kind, "new"), clients, until);
    double spent = (now() - began) / 1e6;
    qsort(took, sampled, sizeof *took, ascending);
    printf("{\"done\": %ld, \"failures\": %ld, \"seconds\": %.6f, \"p50\": %.1f, \"p99\": %.1f, \"longest\": %.1f}\n", done, failures,
           spent, sampled ? took[sampled / 2] : 0, sampled ? took[sampled * 99 / 100] : 0, longest);
    return 0;
}
