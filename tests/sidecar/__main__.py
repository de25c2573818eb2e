"""`python -m tests.sidecar` is `rollonce` with one more feature."""

from tests.sidecar.feature import SIDECAR
from webhook.cli import main
from webhook.features import FEATURES

if __name__ == "__main__":
    main(features=(*FEATURES, SIDECAR))
