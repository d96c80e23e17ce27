/* What both programs do to the process and to a socket before they start. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define EPOLL_EVENT_COUNT 256
/* Edge-triggered and registered once: a socket that is full and then has room again costs no epoll_ctl. A reader goes
 * on until it got less than it asked for, or, when the event says that the peer is gone, until the end. */
#define EPOLL_SOCKET_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static volatile sig_atomic_t is_stopped;

static inline void on_stop_signal(int signal)
{
  (void)signal;
  is_stopped = 1;
}

/* Prints why on stderr and ends with code 2. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

/* SIGTERM and SIGINT set `is_stopped`, and arrive only inside epoll_pwait2 with the returned mask: no check can miss
 * one. Writing to a closed socket is an error code. As many files as the machine allows. */
static inline sigset_t program_start(void)
{
  sigset_t stops, waiting;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  sigprocmask(SIG_BLOCK, &stops, &waiting);
  sigdelset(&waiting, SIGTERM);
  sigdelset(&waiting, SIGINT);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_stop_signal;
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return waiting;
}

static inline void socket_flag(int fd, int level, int option)
{
  int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

/* `*number` from text such as "12.5". False when it is not a number of at least 0. */
static inline int text_number(const char *text, double *number)
{
  char *end;
  *number = strtod(text, &end);
  return end != text && *end == '\0' && *number >= 0 && *number < 1e15;
}

#endif
