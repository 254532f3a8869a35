"""A DVC stage's run in MLflow, whatever the stage does: copy this folder into another DVC project and it works.

    from tracking.stage import stage_run

    with stage_run("prepare") as run:
        run.log_params({"rows": 100})
        ...
        run.log_metrics({"kept": [(0, 97.0)]})

It needs mlflow, psutil, filelock, numpy and sqlalchemy, and imports nothing else of this project.
"""
