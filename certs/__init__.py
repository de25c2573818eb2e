"""Certificates of an admission webhook: create, publish, rotate and serve them without a failed call.

The package does not depend on any webhook.

| module | content |
|---|---|
| `names` | the names under which the API server calls the webhook |
| `pem`, `bundle`, `authority` | PEM, CA bundles, and the certificates themselves |
| `ca_state`, `secret_format`, `secret_store` | the content of the CA Secret, its stored form, and reads and writes |
| `rotation_plan`, `rotator` | the next step of a rotation, and the loop that takes it |
| `injector` | `caBundle` in the webhook configurations |
| `leaf`, `leaf_renewer` | when a replica signs a new certificate, and the loop that does so |
| `pair_sources`, `pair_reloader` | certificates made by others: where they are read, and the loop that reads them |
| `tls` | the server's TLS context |
| `api`, `pacing`, `errors` | calls to the API server, the waiting of the loops, all errors |

`names`, `pem`, `bundle`, `authority`, `ca_state`, `secret_format`, `rotation_plan` and `leaf` do no input or output:
time is passed in, and the only randomness is that of `cryptography` for keys and serial numbers.
"""
