"""The command with a lease that expires within seconds: ``python -m helpers.short_lease convert RELEASE STORE ...``."""

from functools import partial

from s2cmc.cli.app import main
from s2cmc.conversion.targets import bucket
from s2cmc.conversion.targets.bucket import Lease

brisk = partial(Lease, renewed_every=0.2, expires_after=2.0)
"""Under load a holder may pause for a second."""

if __name__ == "__main__":
    bucket.Lease = brisk  # type: ignore[misc, assignment]
    main()
