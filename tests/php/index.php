<?php
/* A front controller, as most applications in PHP have one. */
declare(strict_types=1);

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$scratch = $_SERVER['SCRATCH'] ?? '';

/* Waits until the test has made a file. */
function waitFor(string $file): void
{
    for ($i = 0; $i < 1000 && !file_exists($file); $i++) {
        usleep(10_000);
        clearstatcache();
    }
}

function json(mixed $value): void
{
    header('Content-Type: application/json');
    echo json_encode($value);
}

switch ($path) {
    case '/form':
        json(['get' => $_GET, 'post' => $_POST]);
        break;
    case '/upload':
        json(array_map(fn ($file) => [
            $file['name'],
            $file['size'],
            $file['error'],
            md5_file($file['tmp_name']),
        ], $_FILES));
        break;
    case '/cookies':
        setcookie('one', '1');
        setcookie('two', 'b c', ['httponly' => true]);
        json($_COOKIE);
        break;
    case '/session':
        session_start();
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
        json($_SESSION['count']);
        break;
    case '/status':
        header('X-Own: 1');
        http_response_code(418);
        echo 'teapot';
        break;
    case '/redirect':
        header('Location: /form?a=b');
        break;
    case '/error':
        throw new RuntimeException('on purpose');
    case '/log':
        error_log('told by the script');
        break;
    case '/echo':
        $content = file_get_contents('php://input');
        json([strlen($content), md5($content), $_SERVER['CONTENT_LENGTH'] ?? null]);
        break;
    case '/unread':
        http_response_code(413);
        echo 'too much';
        break;
    case '/big':
        for ($i = 0; $i < 256; $i++) {
            echo str_repeat(chr($i), 16_384);
        }
        break;
    case '/stream':
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        echo 'first;';
        flush();
        waitFor("$scratch/go-on");
        echo 'last';
        break;
    case '/hold':
        file_put_contents("$scratch/held", (string) getmypid());
        waitFor("$scratch/let-go");
        echo 'held';
        break;
    case '/endless':
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        register_shutdown_function(fn () => touch("$scratch/ended"));
        for ($i = 0; $i < 5000; $i++) {
            echo str_repeat('x', 1000);
            flush();
            usleep(2000);
        }
        break;
    case '/sendfile':
        header('Content-Type: text/plain');
        header("X-Sendfile: $scratch/download.txt");
        break;
    default:
        json([
            'self' => $_SERVER['PHP_SELF'],
            'script' => $_SERVER['SCRIPT_NAME'],
            'file' => $_SERVER['SCRIPT_FILENAME'],
            'root' => $_SERVER['DOCUMENT_ROOT'],
            'info' => $_SERVER['PATH_INFO'] ?? '',
            'uri' => $_SERVER['REQUEST_URI'],
            'query' => $_SERVER['QUERY_STRING'],
            'method' => $_SERVER['REQUEST_METHOD'],
            'host' => $_SERVER['HTTP_HOST'],
            'user' => $_SERVER['PHP_AUTH_USER'] ?? '',
            'password' => $_SERVER['PHP_AUTH_PW'] ?? '',
            'remote' => $_SERVER['REMOTE_ADDR'],
        ]);
}
