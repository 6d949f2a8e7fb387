// sipgen: an open-loop caller and callee in one thread, with one clock.
//
// The caller (-A, port 5061) calls numbers at the server under test, which calls the callee (-B, port 5070). A call is
// INVITE, 180, 200, ACK, hold, BYE, 200. Nothing is ever retransmitted here: each lost message shows as a call that
// does not complete, and each retransmission by the server is counted. The caller's number carries the call's index, so
// that the time from the caller's INVITE to the callee's is a true one-way figure.
//
//   sipgen -r CALLS_PER_SECOND -n CALLS [-p HOST:PORT] [-A CALLER] [-B CALLEE] [-u USER] [-H HOLD_MS]
//   -K SECONDS  bring all calls up, keep them so long (prints HELD, RELEASE), then hang up at the same rate
//   -m FILE     write "PORT_FOR_CALLER PORT_FOR_CALLEE" per call, the RTP ports in the server's descriptions
//
// Prints one line of "name value" pairs. Times are microseconds. Unfinished are calls without an end; of these, unreached
// never came to the callee, unanswered never came back to the caller.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { CALLER_PORT = 5061, CALLEE_PORT = 5070, CALLER_RTP = 40000, CALLEE_RTP = 40001 };
enum { PATIENCE_MS = 4000, SETTLE_MS = 5000, BURST = 64, MESSAGE_MAX = 8192 };
enum state { NEW, INVITED, UP, LEAVING, DONE, FAILED };
#define INDEX_MARK "+1999" // the caller's number is this and seven digits of index

struct call {
  int64_t invited, reached, answered;
  char *bye;
  enum state state;
  int caller_port, callee_port, code;
};

static struct call *calls;
static int count = 1000, rate = 100, hold_ms, keep_s;
static const char *user = "+18005550100", *map_file;
static char server_host[64] = "127.0.0.1", caller_host[64] = "127.0.0.1", callee_host[64] = "127.0.0.1";
static int server_port = 5060, caller_socket, callee_socket;
static struct sockaddr_in server;
static long completed, refused, again_invites, again_answers, invites_seen;
static int *order; // indices in the order they were answered; due[] is when each hangs up
static int64_t *due;
static long answered, left;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int bound(const char *host, int port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 16 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  if (bind(fd, (void *)&address, sizeof address)) { perror(host); exit(1); }
  return fd;
}

// The first header line of that name, long form only: the servers measured write nothing else.
static const char *header(const char *message, const char *name) {
  size_t length = strlen(name);
  for (const char *p = strchr(message, '\n'); p; p = strchr(p, '\n')) {
    if (*++p == '\r' || !*p) return NULL;
    if (!strncasecmp(p, name, length) && p[length] == ':') return p;
  }
  return NULL;
}

// Copies the first header line of that name, or all of them.
static int copy(char *out, const char *message, const char *name, int all) {
  size_t length = strlen(name);
  int written = 0;
  for (const char *p = strchr(message, '\n'); p;) {
    const char *end;
    if (*++p == '\r' || !*p || !(end = strchr(p, '\n'))) break;
    if (!strncasecmp(p, name, length) && p[length] == ':') {
      written += sprintf(out + written, "%.*s\n", (int)(end - p), p);
      if (!all) break;
    }
    p = end;
  }
  return written;
}

static int number_after(const char *message, const char *key) {
  const char *p = message ? strstr(message, key) : NULL;
  return p ? atoi(p + strlen(key)) : -1;
}

static int description(char *out, const char *host, int port) {
  return sprintf(out, "v=0\r\no=b 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n", host, host, port);
}

static int with_body(char *out, const char *body, int length) {
  return sprintf(out, "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", length, body);
}

static void send_invite(int i) {
  char message[MESSAGE_MAX], body[512];
  int length = description(body, caller_host, CALLER_RTP);
  int n = sprintf(message,
    "INVITE sip:%s@%s:%d SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bKi%dx%d\r\nMax-Forwards: 70\r\n"
    "From: <sip:" INDEX_MARK "%07d@%s>;tag=f%d\r\nTo: <sip:%s@%s>\r\nCall-ID: sg%dx%d@bench\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:" INDEX_MARK "%07d@%s:%d>\r\nUser-Agent: sipgen\r\n",
    user, server_host, server_port, caller_host, CALLER_PORT, i, getpid(), i, caller_host, i, user, server_host, i, getpid(), i, caller_host, CALLER_PORT);
  n += with_body(message + n, body, length);
  calls[i].state = INVITED;
  calls[i].invited = now();
  sendto(caller_socket, message, n, 0, (void *)&server, sizeof server);
}

// Which call an INVITE at the callee is: by the caller's number, else in the order of arrival.
static int index_of_invite(const char *message) {
  const char *from = header(message, "From"), *mark = from ? strstr(from, INDEX_MARK) : NULL;
  long i = mark && mark < strchr(from, '\n') ? strtol(mark + strlen(INDEX_MARK), NULL, 10) : invites_seen;
  return i >= 0 && i < count ? (int)i : -1;
}

static void note_invite(const char *message) {
  int64_t t = now();
  int i = index_of_invite(message);
  if (i < 0) return;
  if (calls[i].reached) { again_invites++; return; }
  calls[i].reached = t;
  invites_seen++;
  calls[i].callee_port = number_after(message, "m=audio ");
}

static void answer(int fd, const char *message, const char *status, const char *host, int port, int rtp, struct sockaddr_in *to) {
  char out[MESSAGE_MAX], body[512];
  int invite = !strncmp(message, "INVITE", 6);
  int n = sprintf(out, "SIP/2.0 %s\r\n", status);
  n += copy(out + n, message, "Via", 1);
  n += copy(out + n, message, "Record-Route", 1);
  n += copy(out + n, message, "From", 0);
  const char *line = header(message, "To"), *end = line ? strchr(line, '\r') : NULL;
  if (!end) return;
  n += sprintf(out + n, "%.*s%s\r\n", (int)(end - line), line, memmem(line, end - line, "tag=", 4) ? "" : ";tag=callee");
  n += copy(out + n, message, "Call-ID", 0);
  n += copy(out + n, message, "CSeq", 0);
  if (invite) n += sprintf(out + n, "Contact: <sip:bench@%s:%d>\r\n", host, port);
  if (invite && status[0] == '2') n += with_body(out + n, body, description(body, host, rtp));
  else n += sprintf(out + n, "Content-Length: 0\r\n\r\n");
  sendto(fd, out, n, 0, (void *)to, sizeof *to);
}

static void at_callee(char *message, struct sockaddr_in *from) {
  if (!strncmp(message, "ACK", 3) || !strncmp(message, "SIP/2.0", 7)) return;
  const char *to = header(message, "To"), *end = to ? strchr(to, '\r') : NULL;
  int fresh = end && !memmem(to, end - to, "tag=", 4);
  if (!strncmp(message, "INVITE", 6) && fresh) {
    note_invite(message);
    answer(callee_socket, message, "180 Ringing", callee_host, CALLEE_PORT, CALLEE_RTP, from);
  }
  answer(callee_socket, message, "200 OK", callee_host, CALLEE_PORT, CALLEE_RTP, from);
}

// The Record-Routes of a response, as the Routes of the requests that follow it (RFC 3261 12.1.2).
static void routes(char *out, const char *message) {
  const char *line[8];
  int lines = 0, n = 0;
  for (const char *p = strchr(message, '\n'); p && lines < 8; p = strchr(p, '\n')) {
    if (*++p == '\r' || !*p) break;
    if (!strncasecmp(p, "Record-Route:", 13)) line[lines++] = p + 13;
  }
  *out = 0;
  while (lines--) n += sprintf(out + n, "Route:%.*s\r\n", (int)(strchr(line[lines], '\r') - line[lines]), line[lines]);
}

static int in_dialog(char *out, int i, const char *method, int sequence, const char *target, const char *branch, const char *route, const char *to) {
  return sprintf(out,
    "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bK%s%dx%d\r\n%sMax-Forwards: 70\r\n"
    "From: <sip:" INDEX_MARK "%07d@%s>;tag=f%d\r\n%s\r\nCall-ID: sg%dx%d@bench\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
    method, target, caller_host, CALLER_PORT, branch, i, getpid(), route, i, caller_host, i, to, i, getpid(), sequence, method);
}

static void final_response(const char *message, int i, int code) {
  struct call *call = &calls[i];
  char route[2048], target[256], to[512], out[MESSAGE_MAX];
  routes(route, message);
  snprintf(target, sizeof target, "sip:%s@%s:%d", user, server_host, server_port);
  const char *contact = header(message, "Contact"), *open = contact ? strchr(contact, '<') : NULL, *close = open ? strchr(open, '>') : NULL;
  if (code < 300 && close && close - open < 250) sprintf(target, "%.*s", (int)(close - open - 1), open + 1);
  const char *line = header(message, "To");
  snprintf(to, sizeof to, "%.*s", (int)(strchr(line, '\r') - line), line);
  int n = in_dialog(out, i, "ACK", 1, target, code < 300 ? "a" : "i", code < 300 ? route : "", to);
  sendto(caller_socket, out, n, 0, (void *)&server, sizeof server);
  if (call->state == UP) { again_answers++; return; }
  call->code = code;
  if (code >= 300) { call->state = FAILED; refused++; return; }
  call->state = UP;
  call->answered = now();
  call->caller_port = number_after(message, "m=audio ");
  in_dialog(out, i, "BYE", 2, target, "b", route, to);
  call->bye = strdup(out);
  order[answered] = i;
  due[answered++] = call->answered + hold_ms * 1000000LL;
}

static void at_caller(char *message, struct sockaddr_in *from) {
  if (strncmp(message, "SIP/2.0 ", 8)) {
    if (strncmp(message, "ACK", 3)) answer(caller_socket, message, "200 OK", caller_host, CALLER_PORT, CALLER_RTP, from);
    return;
  }
  int code = atoi(message + 8), i = number_after(header(message, "Call-ID"), "sg");
  if (code < 200 || i < 0 || i >= count) return;
  struct call *call = &calls[i];
  const char *sequence = header(message, "CSeq"), *bye = sequence ? strstr(sequence, "BYE") : NULL;
  if (bye && bye < strchr(sequence, '\n')) {
    if (call->state != LEAVING) return;
    call->state = DONE;
    if (code == 200) completed++; else refused++;
    free(call->bye);
    call->bye = NULL;
  } else if (call->state == DONE || call->state == LEAVING) again_answers++;
  else final_response(message, i, code);
}

static void drain(int fd, void (*take)(char *, struct sockaddr_in *)) {
  static char buffer[65536];
  struct sockaddr_in from;
  for (int k = 0; k < 200; k++) {
    socklen_t size = sizeof from;
    int length = recvfrom(fd, buffer, sizeof buffer - 1, 0, (void *)&from, &size);
    if (length <= 0) return;
    buffer[length] = 0;
    take(buffer, &from);
  }
}

static void hang_up(int i) {
  struct call *call = &calls[i];
  if (call->state != UP) return;
  call->state = LEAVING;
  sendto(caller_socket, call->bye, strlen(call->bye), 0, (void *)&server, sizeof server);
}

static void write_map(void) {
  FILE *f = map_file ? fopen(map_file, "w") : NULL;
  if (!f) return;
  for (int i = 0; i < count; i++)
    if (calls[i].caller_port > 0) fprintf(f, "%d %d\n", calls[i].caller_port, calls[i].callee_port);
  fclose(f);
}

// Hangs up what is due: after its own hold, or, with -K, once all have been held together. Returns whether it waits.
static int release(int64_t t, int all_started, int64_t progress) {
  static enum { GATHERING, HELD, RELEASED } phase = GATHERING;
  static int64_t since;
  if (!keep_s) {
    while (left < answered && due[left] <= t) hang_up(order[left++]);
    return 0;
  }
  int gathered = answered + refused >= count || (all_started && t - progress > SETTLE_MS * 1000000LL);
  if (phase == GATHERING && gathered) {
    phase = HELD;
    since = t;
    write_map();
    printf("HELD %ld\n", answered);
    fflush(stdout);
  }
  if (phase == HELD && t - since > keep_s * 1000000000LL) {
    phase = RELEASED;
    since = t;
    printf("RELEASE\n");
    fflush(stdout);
  }
  if (phase == RELEASED)
    for (long allowed = (long)((double)(t - since) * rate / 1e9) + 1; left < answered && left < allowed;) hang_up(order[left++]);
  return phase == HELD;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void percentiles(const char *name, int64_t *value, long n) {
  qsort(value, n, sizeof *value, ascending);
  printf(" %s_p50_us %.0f %s_p99_us %.0f", name, n ? value[n / 2] / 1e3 : -1, name, n ? value[(long)(n * .99)] / 1e3 : -1);
}

static void report(long started, int64_t begin) {
  int64_t *relay = calloc(count, sizeof *relay), *setup = calloc(count, sizeof *setup);
  long relays = 0, setups = 0;
  int last_code = 0;
  long unreached = 0, unanswered = 0;
  for (int i = 0; i < count; i++) {
    if (calls[i].reached) relay[relays++] = calls[i].reached - calls[i].invited;
    if (calls[i].answered) setup[setups++] = calls[i].answered - calls[i].invited;
    if (calls[i].code >= 300) last_code = calls[i].code;
    unreached += !calls[i].reached;
    unanswered += calls[i].state == INVITED;
  }
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  double cpu_us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
  printf("calls %ld ok %ld refused %ld code %d unfinished %ld unreached %ld unanswered %ld again_invites %ld again_answers %ld seconds %.2f",
    started, completed, refused, last_code, started - completed - refused, unreached, unanswered, again_invites, again_answers, (now() - begin) / 1e9);
  percentiles("relay", relay, relays);
  percentiles("setup", setup, setups);
  printf(" own_cpu_us %.1f\n", started ? cpu_us / started : 0);
}

static void options(int argc, char **argv) {
  for (int o; (o = getopt(argc, argv, "r:n:p:A:B:H:K:u:m:")) > 0;) switch (o) {
    case 'r': rate = atoi(optarg); break;
    case 'n': count = atoi(optarg); break;
    case 'p': sscanf(optarg, "%63[^:]:%d", server_host, &server_port); break;
    case 'A': snprintf(caller_host, sizeof caller_host, "%s", optarg); break;
    case 'B': snprintf(callee_host, sizeof callee_host, "%s", optarg); break;
    case 'H': hold_ms = atoi(optarg); break;
    case 'K': keep_s = atoi(optarg); break;
    case 'u': user = optarg; break;
    case 'm': map_file = optarg; break;
    default: exit(2);
  }
}

int main(int argc, char **argv) {
  options(argc, argv);
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(server_port)};
  inet_pton(AF_INET, server_host, &server.sin_addr);
  calls = calloc(count, sizeof *calls);
  order = calloc(count, sizeof *order);
  due = calloc(count, sizeof *due);
  caller_socket = bound(caller_host, CALLER_PORT);
  callee_socket = bound(callee_host, CALLEE_PORT);
  struct pollfd ready[2] = {{.fd = caller_socket, .events = POLLIN}, {.fd = callee_socket, .events = POLLIN}};
  int64_t begin = now(), progress = begin;
  long started = 0, last = -1;
  while (completed + refused < count) {
    int64_t t = now();
    long wanted = (long)((double)(t - begin) * rate / 1e9) + 1;
    for (int burst = 0; started < count && started < wanted && burst < BURST; burst++) send_invite(started++);
    int waiting = release(t, started == count, progress);
    poll(ready, 2, 1);
    if (ready[0].revents) drain(caller_socket, at_caller);
    if (ready[1].revents) drain(callee_socket, at_callee);
    long sum = completed + refused + answered + started + left;
    if (sum != last || waiting) { last = sum; progress = now(); }
    if (now() - progress > (hold_ms + PATIENCE_MS + (keep_s ? SETTLE_MS : 0)) * 1000000LL) break;
  }
  report(started, begin);
  return 0;
}
