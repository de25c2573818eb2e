"""The admission protocol, `admission.k8s.io/v1`: bytes in, typed requests out; decisions in, bytes out. No I/O.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""
