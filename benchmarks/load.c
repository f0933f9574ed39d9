/* Load for the benchmarks: HTTP/1.1 over TLS or plain TCP, one thread for each connection.
 *
 *   load ask   [-c CONNECTIONS] [-n REQUESTS] [-a CA -t TOKEN] [-b BODY] [-f] HOST PORT METHOD PATH
 *   load serve ADDRESS PORT            answers every connection once and closes it: the backend of the proxy benchmark
 *   load await HOST PORT               asks until there is a good answer; prints CLOCK_MONOTONIC in seconds at that moment
 *
 * {n} in PATH and BODY is the number of the request. -a means TLS. -f opens a connection for each request.
 * ask prints one JSON object: answers (2xx), failures, seconds, p50 and p99 in milliseconds, bytes of the last answer.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *host, *method, *path, *token, *body = "";
static int port, connections = 1, requests = 1, fresh;
static SSL_CTX *tls;
static atomic_int next, answers;
static atomic_long size_of_last;
static double *latency; /* milliseconds, by request; negative: failed */
struct line { int fd; SSL *ssl; char *buffer; size_t room; };
static void die(const char *why) { fprintf(stderr, "load: %s\n", why); exit(2); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in place(const char *address, int number) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(number)};
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1) die("addresses are IPv4, in digits");
    return at;
}

static void hang_up(struct line *line) {
    SSL_free(line->ssl);
    if (line->fd >= 0) close(line->fd);
    line->ssl = NULL, line->fd = -1;
}

static int dial(struct line *line) {
    struct sockaddr_in at = place(host, port);
    int one = 1;
    line->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(line->fd, (struct sockaddr *)&at, sizeof at)) return -1;
    if (!tls) return 0;
    line->ssl = SSL_new(tls);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(line->ssl), host);
    SSL_set_fd(line->ssl, line->fd);
    return SSL_connect(line->ssl) == 1 ? 0 : -1;
}

static ssize_t put(struct line *line, const char *bytes, size_t count) {
    return line->ssl ? SSL_write(line->ssl, bytes, count) : send(line->fd, bytes, count, 0);
}

static ssize_t take(struct line *line, char *bytes, size_t count) {
    return line->ssl ? SSL_read(line->ssl, bytes, count) : recv(line->fd, bytes, count, 0);
}

/* The length of the whole answer once it can be told; 0: not yet. */
static size_t expected(const char *buffer, size_t have) {
    const char *end = strstr(buffer, "\r\n\r\n");
    if (!end) return 0;
    for (const char *at = strstr(buffer, "\r\n"); at && at < end; at = strstr(at + 2, "\r\n")) {
        if (!strncasecmp(at + 2, "content-length:", 15)) return end + 4 - buffer + strtoul(at + 17, NULL, 10);
        if (!strncasecmp(at + 2, "transfer-encoding:", 18))
            return have >= 7 && !memcmp(buffer + have - 7, "\r\n0\r\n\r\n", 7) ? have : 0;
    }
    return end + 4 - buffer;
}

/* Reads one answer; its status, or -1. */
static int hear(struct line *line) {
    size_t have = 0, whole = 0;
    while (!whole || have < whole) {
        if (line->room - have < 65536) {
            line->room += line->room + 131072;
            if (!(line->buffer = realloc(line->buffer, line->room))) die("out of memory");
        }
        ssize_t got = take(line, line->buffer + have, line->room - have - 1);
        if (got <= 0) return -1;
        line->buffer[have += got] = 0;
        if (!whole) whole = expected(line->buffer, have);
    }
    size_of_last = have;
    return have > 12 ? atoi(line->buffer + 9) : -1;
}

static void fill(char *to, size_t room, const char *pattern, int number) {
    const char *mark;
    size_t used = 0;
    for (; (mark = strstr(pattern, "{n}")); pattern = mark + 3)
        used += snprintf(to + used, room - used, "%.*s%d", (int)(mark - pattern), pattern, number);
    snprintf(to + used, room - used, "%s", pattern);
}

static int ask(struct line *line, int number) {
    char target[1024], content[8192], text[12288], authorization[512] = "";
    fill(target, sizeof target, path, number);
    fill(content, sizeof content, body, number);
    if (token) snprintf(authorization, sizeof authorization, "Authorization: Bearer %s\r\n", token);
    int length = snprintf(text, sizeof text,
                          "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%sContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n%s", method, target, host, port, authorization, strlen(content), content);
    if (line->fd < 0 && dial(line)) return -1;
    return put(line, text, length) == length ? hear(line) : -1;
}

static void *worker(void *unused) {
    struct line line = {.fd = -1};
    for (int number; (number = next++) < requests;) {
        double started = now();
        int status = ask(&line, number);
        if (status / 100 == 2) latency[number] = (now() - started) * 1e3, answers++;
        else if (status > 0) fprintf(stderr, "%.300s\n", line.buffer);
        if (fresh || status < 0) hang_up(&line);
    }
    hang_up(&line);
    free(line.buffer);
    return unused;
}

static void *responder(void *listener) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    char request[4096];
    for (int fd; (fd = accept(*(int *)listener, NULL, NULL)) >= 0; close(fd))
        if (recv(fd, request, sizeof request, 0) > 0) send(fd, answer, sizeof answer - 1, 0);
    return NULL;
}

static void run_all(int count, void *(*work)(void *), void *argument) {
    pthread_t threads[256];
    if (count < 1 || count > 256) die("1 to 256 connections");
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, argument);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void serve(void) {
    struct sockaddr_in at = place(host, port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1024)) die("cannot listen");
    run_all(32, responder, &listener);
}

static int ascending(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void report(double seconds) {
    qsort(latency, requests, sizeof *latency, ascending);
    double *good = latency + requests - answers;
    printf("{\"answers\": %d, \"failures\": %d, \"seconds\": %.6f, \"p50\": %.4f, \"p99\": %.4f, \"bytes\": %ld}\n", answers,
           requests - answers, seconds, answers ? good[answers / 2] : 0, answers ? good[answers * 99 / 100] : 0, size_of_last);
}

int main(int count, char **words) {
    const char *ca = NULL, *mode = count > 1 ? words[1] : "";
    signal(SIGPIPE, SIG_IGN);
    for (int option; (option = getopt(count - 1, words + 1, "c:n:a:t:b:f")) != -1;)
        switch (option) {
        case 'c': connections = atoi(optarg); break;
        case 'n': requests = atoi(optarg); break;
        case 'a': ca = optarg; break;
        case 't': token = optarg; break;
        case 'b': body = optarg; break;
        case 'f': fresh = 1; break;
        default: die("see the top of load.c");
        }
    char **rest = words + 1 + optind;
    if (count - 1 - optind != (strcmp(mode, "ask") ? 2 : 4)) die("see the top of load.c");
    host = rest[0], port = atoi(rest[1]);
    if (!strcmp(mode, "serve")) serve();
    if (!strcmp(mode, "await")) {
        struct line line = {.fd = -1};
        for (method = "GET", path = "/"; ask(&line, 0) / 100 != 2; hang_up(&line)) usleep(200);
        printf("%.6f\n", now());
        return 0;
    }
    method = rest[2], path = rest[3];
    if (ca && !SSL_CTX_load_verify_locations(tls = SSL_CTX_new(TLS_client_method()), ca, NULL)) die("cannot read the CA");
    if (ca) SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    latency = malloc(requests * sizeof *latency);
    for (int i = 0; i < requests; i++) latency[i] = -1;
    double started = now();
    run_all(connections, worker, NULL);
    report(now() - started);
    return answers == requests ? 0 : 1;
}
