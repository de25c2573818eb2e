"""Certificates of an admission webhook: made, published, rotated and served without a failed call.

Knows nothing of any webhook in particular. `authority`, `pem`, `bundle` and `rotation` are pure: time is handed in, and
the only randomness is that which `cryptography` draws for keys and serial numbers. The other modules do the input and
output.
"""
