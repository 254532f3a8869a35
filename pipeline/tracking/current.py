"""The tag `current`: which run is the newest of its stage in an experiment, so that a page can show these alone."""

import mlflow
from mlflow.exceptions import MlflowException

from . import store

TAG = "current"


def make(client: mlflow.MlflowClient, experiment_id: str, run_id: str, stage: str) -> None:
    """Tag a run as the newest of its stage, and take the tag from the others.

    Each run is tagged before its process looks for others, so of two that end together whichever looks last sees both,
    and the one that was started later keeps the tag.
    """
    client.set_tag(run_id, TAG, "true")
    tagged = store.search(client, [experiment_id], f"tags.{TAG} = 'true' and tags.stage = '{stage}'")
    for other in store.oldest_first(tagged)[:-1]:
        try:
            client.set_tag(other.info.run_id, TAG, "false")
        except MlflowException:  # it may have been deleted meanwhile
            if list(store.search(client, [experiment_id], f"attributes.run_id = '{other.info.run_id}'")):
                raise
