#!/bin/bash
#SBATCH --job-name=sensorium
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=32G
#SBATCH --time=12:00:00
# CarRacing's controller on four nodes: `sbatch examples/slurm.sh` in a folder that all nodes share and that has Sensorium in .venv.
# The same command resumes a run whose time was over.
set -euo pipefail

source .venv/bin/activate
export OMP_NUM_THREADS=1 RAY_memory_monitor_refresh_ms=0

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))

# one task per node: that of the first node starts a cluster and the command, the others join; the cluster ends with the command
srun --ntasks="$SLURM_JOB_NUM_NODES" \
    ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --object-store-memory 500000000 --disable-usage-stats \
    -- sensorium train car-racing-z --preset paper --on ray:auto --out runs/car-racing-z
