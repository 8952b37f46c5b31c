#!/bin/bash
# GPT-2 on 2 machines with 8 GPUs each: sbatch examples/slurm.sh [flags of python -m train pretrain]
#
# Two minutes before the time is up, Slurm sends SIGTERM: the run saves, and the job puts itself into the queue again,
# where it goes on from its newest checkpoint. A run that has ended, well or badly, is not queued again.

#SBATCH --job-name=gpt2
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

out=${OUT:-$PWD/runs/$SLURM_JOB_NAME-$SLURM_JOB_ID}        # where all machines see it
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
python=${PYTHON:-python}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=100                  # seconds that the ranks have to save

if compgen -G "$out/checkpoints/step-*" > /dev/null; then
    run=(--resume "$out")
else
    run=(--engine torch --model gpt2 --data "${DATA:-tokens/}" --out "$out" --compile
         --batch-size 512 --micro-batch 16 --steps 20000 --warmup 700 --lr 6e-4 --min-lr 6e-5)
fi

srun --kill-on-bad-exit=1 "$python" -m torch.distributed.run \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:29500" \
    -m train pretrain "${run[@]}" "$@" &
training=$!

again() {
    kill -TERM "$training"                                # srun passes it on to torchrun, and that to the ranks
    wait "$training"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap again TERM

wait "$training"
