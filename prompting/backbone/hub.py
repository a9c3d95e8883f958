"""A model's files on the Hugging Face hub, through huggingface_hub and its cache."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError

PREFIX = "hf:"


class Repository:
    """Finds the files of ORGANISATION/NAME, each downloaded once.

    HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are heeded.

    Attributes:
        unreachable: why the hub could not be asked, "" where it could.

    Raises:
        InputError: huggingface_hub is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            import huggingface_hub
            import huggingface_hub.errors
        except ImportError as error:
            raise InputError(
                f"{error.name} is not installed, which {PREFIX} names need: pip install -r "
                "requirements-open-clip.txt"
            ) from error
        self.name, self.unreachable, self._hub = name, "", huggingface_hub

    def __call__(self, file: str) -> Path | None:
        """The file; None where the repository has no such, or neither hub nor cache can say.

        Raises:
            InputError: there is no such repository, it wants a login, or the download fails.
        """
        source, errors = f"{PREFIX}{self.name}", self._hub.errors
        try:
            return Path(self._hub.hf_hub_download(self.name, file))
        except errors.LocalEntryNotFoundError as error:
            self.unreachable = self.unreachable or _first_line(error)
            return None
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise InputError(
                f"{source} is given to those who accept its terms: do so on its page, and log in "
                "(HF_TOKEN)"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise InputError(
                f"{source}: the hub has no such model, or it is private: expected "
                f"{PREFIX}ORGANISATION/NAME, and for a private one a login (HF_TOKEN)"
            ) from error
        except (errors.HFValidationError, errors.HfHubHTTPError, OSError) as error:
            raise InputError(f"{source} cannot be downloaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
