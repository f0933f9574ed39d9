"""The kernel's formats, sans-IO: values in, bytes out, and back.

Law: pure. No socket, no clock, no chance: who talks to the kernel is ``dataplane.netlink``. A module is one netlink family or one
noun of it; numbers are those of the kernel's uapi headers, which every module names. Building is done from templates, because a full
load is a hundred thousand elements; reading believes nothing: what is cut short raises ``AnswerMalformed``.
"""
